import { readdir, readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import type { ProviderPlaces } from "../../oci/credentials/exec-credentials.ts";

/** Programs that are a kubelet or hold one. */
const kubeletPrograms = new Set(["kubelet", "k3s", "k3s-agent", "k3s-server", "rke2", "kubelite", "hyperkube"]);
/** Where k3s and RKE2 look without being told (their docs, "image-credential-provider-config"). */
const rancherPlaces = {
  config: "/var/lib/rancher/credentialprovider/config.yaml",
  binaries: "/var/lib/rancher/credentialprovider/bin",
};

/**
 * The credential providers of the kubelet that runs on this node, by its flags `--image-credential-provider-config` and
 * `--image-credential-provider-bin-dir`, with the variables of its process, which kubelet hands on to them. `undefined` where there is no
 * kubelet, or none with providers. `proc`: where the process file system is.
 */
export async function kubeletProviders(proc = "/proc"): Promise<ProviderPlaces | undefined> {
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  let rancher: ProviderPlaces | undefined;
  for (const pid of pids) {
    const command = await words(`${proc}/${pid}/cmdline`);
    // k3s writes its subcommand behind its name, in one word.
    const program = basename(command[0]?.split(" ")[0] ?? "");
    if (!kubeletPrograms.has(program)) continue;
    const config = flag(command, "image-credential-provider-config");
    const binaries = flag(command, "image-credential-provider-bin-dir");
    if (config !== undefined && binaries !== undefined) {
      return { config, binaries, environment: await environmentOf(`${proc}/${pid}/environ`) };
    }
    if (
      /^(?:k3s|rke2)/.test(program) &&
      (await isThere(rancherPlaces.config)) &&
      (await isThere(rancherPlaces.binaries))
    ) {
      rancher ??= { ...rancherPlaces, environment: await environmentOf(`${proc}/${pid}/environ`) };
    }
  }
  return rancher;
}

/** `--name=value` or `--name value`; k3s hands flags on as `--kubelet-arg=name=value`. The last one counts. */
export function flag(command: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  for (const [i, word] of command.entries()) {
    const own = word === "--kubelet-arg" ? command[i + 1] : /^--kubelet-arg=(.*)$/s.exec(word)?.[1];
    const text = own === undefined ? word : `--${own.replace(/^--/, "")}`;
    if (text === `--${name}` || text === `-${name}`) found = command[i + 1] ?? found;
    else if (text.startsWith(`--${name}=`)) found = text.slice(name.length + 3);
    else if (text.startsWith(`-${name}=`)) found = text.slice(name.length + 2);
  }
  return found === "" ? undefined : found;
}

async function words(file: string): Promise<string[]> {
  return (await readFile(file, "utf8").catch(() => "")).split("\0").filter((word, i) => i === 0 || word !== "");
}

async function environmentOf(file: string): Promise<Record<string, string>> {
  const pairs = (await words(file)).map((pair) => /^([^=]+)=(.*)$/s.exec(pair));
  return Object.fromEntries(pairs.flatMap((pair) => (pair ? [[pair[1] ?? "", pair[2] ?? ""]] : [])));
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
