import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
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
 *
 * These programs are run as root, and any process can call itself kubelet: one counts only if it is root's and sees the same mounts as we
 * do, which no container does, and its files only if nobody but root can write them.
 */
export async function kubeletProviders(proc = "/proc"): Promise<ProviderPlaces | undefined> {
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  let rancher: ProviderPlaces | undefined;
  for (const pid of pids) {
    const command = await words(`${proc}/${pid}/cmdline`);
    // k3s writes its subcommand behind its name, in one word.
    const program = basename(command[0]?.split(" ")[0] ?? "");
    if (!kubeletPrograms.has(program) || !(await isHostRoot(proc, pid))) continue;
    const config = flag(command, "image-credential-provider-config");
    const binaries = flag(command, "image-credential-provider-bin-dir");
    if (config !== undefined && binaries !== undefined) {
      const places = await trustedPlaces({ config, binaries }, `${proc}/${pid}/environ`);
      if (places) return places;
    } else if (/^(?:k3s|rke2)/.test(program)) {
      rancher ??= await trustedPlaces(rancherPlaces, `${proc}/${pid}/environ`);
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

async function trustedPlaces(
  named: Pick<ProviderPlaces, "config" | "binaries">,
  environ: string,
): Promise<ProviderPlaces | undefined> {
  const [config, binaries] = await Promise.all([rootsOwnPath(named.config), rootsOwnPath(named.binaries)]);
  if (config === undefined || binaries === undefined) return undefined;
  return { config, binaries, environment: await environmentOf(environ) };
}

async function isHostRoot(proc: string, pid: string): Promise<boolean> {
  const namespaceOf = (process: string) => readlink(`${proc}/${process}/ns/mnt`).catch(() => undefined);
  const [own, other] = await Promise.all([namespaceOf("self"), namespaceOf(pid)]);
  const owner = await stat(`${proc}/${pid}`).catch(() => undefined);
  return own !== undefined && own === other && owner?.uid === 0;
}

/**
 * The path without links, which is what must be used from here on, if it and every folder above it are root's and nobody else can write
 * them; else `undefined`.
 */
async function rootsOwnPath(path: string): Promise<string | undefined> {
  if (!path.startsWith("/")) return undefined;
  try {
    const real = await realpath(path);
    for (let at = real; ; at = dirname(at)) {
      const { uid, mode } = await stat(at);
      // A sticky folder, such as /tmp, lets nobody replace what is root's.
      const isSticky = (mode & 0o1000) !== 0 && at !== real;
      if (uid !== 0 || ((mode & 0o022) !== 0 && !isSticky)) return undefined;
      if (at === dirname(at)) return real;
    }
  } catch {
    return undefined;
  }
}

async function words(file: string): Promise<string[]> {
  return (await readFile(file, "utf8").catch(() => "")).split("\0").filter((word, i) => i === 0 || word !== "");
}

async function environmentOf(file: string): Promise<Record<string, string>> {
  const pairs = (await words(file)).map((pair) => /^([^=]+)=(.*)$/s.exec(pair));
  return Object.fromEntries(pairs.flatMap((pair) => (pair ? [[pair[1] ?? "", pair[2] ?? ""]] : [])));
}
