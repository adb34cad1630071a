import { rm } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes, formatSeconds } from "../../src/cli/format.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { readDiskSource } from "../../src/runtime/host/disk-source.ts";
import { run } from "../../test/support/processes.ts";
import { type ContainerdDaemon, startContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import { programVersion } from "../../test/support/runtimes/programs.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { bold, dim, green, heading, runHere, say, showCommand, table } from "./screen.ts";

/** The namespace that the kubelet's images are in. */
const namespace = "k8s.io";
const binaries = "/usr/bin";

/** What it took to have all images on a node. */
export type OnNode = { readonly seconds: number; readonly fetchedBytes: number; readonly storedBytes: number };

/** A containerd of Debian with every file in a folder of its own, cleared away when the scope ends. */
export async function privateContainerd(scope: Scope): Promise<ContainerdDaemon> {
  const version = await programVersion(join(binaries, "containerd"));
  return startContainerdDaemon(scope, version, binaries);
}

/** Pulls the images one after the other, as `ctr` does it, and shows each. */
export async function pullAll(
  daemon: ContainerdDaemon,
  images: readonly { readonly reference: string; readonly bytes: number }[],
  signal: AbortSignal,
): Promise<OnNode> {
  say(dim(`containerd ${daemon.version} of Debian, empty, in a folder of its own\n`));
  let seconds = 0;
  let fetchedBytes = 0;
  for (const { reference, bytes } of images) {
    signal.throwIfAborted();
    showCommand(["ctr", "image", "pull", reference]);
    const started = performance.now();
    await daemon.ctr("-n", namespace, "image", "pull", "--plain-http", reference);
    const took = (performance.now() - started) / 1000;
    say(`${formatSeconds(took)}, ${formatBytes(bytes)} fetched`);
    seconds += took;
    fetchedBytes += bytes;
  }
  return { seconds, fetchedBytes, storedBytes: await storedBytes(daemon) };
}

/** Injects the disk with the program as it is released; its own words are shown. */
export async function injectAll(
  scope: Scope,
  daemon: ContainerdDaemon,
  nodewarm: string,
  disk: string,
  signal: AbortSignal,
): Promise<OnNode> {
  const mountPoint = diskMountPoint((await readDiskSource(disk)).id);
  scope.defer(async () => {
    await run("umount", ["-l", mountPoint]).catch(() => {});
    await rm(mountPoint, { recursive: true, force: true }).catch(() => {});
  });
  say(
    dim(
      `another containerd ${daemon.version}, as empty as the first was; the registry is stopped, nothing can be fetched\n`,
    ),
  );
  showCommand(["nodewarm", "inject", disk]);
  const seconds = await runHere(
    nodewarm,
    ["inject", disk, "--runtime", "containerd", "--address", daemon.address],
    signal,
  );
  console.log();
  return { seconds, fetchedBytes: 0, storedBytes: await storedBytes(daemon) };
}

/** Runs an injected image to its end and prints what it said. */
export async function runInjected(daemon: ContainerdDaemon, reference: string): Promise<void> {
  showCommand(["ctr", "run", "--rm", reference, "demo"]);
  const started = performance.now();
  const said = await daemon.run({ image: reference, namespace });
  say(green(said.trim()));
  say(dim(`from start to exit ${formatSeconds((performance.now() - started) / 1000)}`));
}

export function compare(pulled: OnNode, injected: OnNode): void {
  heading("Side by side");
  const times = Math.round(pulled.seconds / injected.seconds);
  table(
    [
      ["", "pull", "inject"],
      [
        "all images usable, seen from outside",
        formatSeconds(pulled.seconds),
        `${(injected.seconds * 1000).toFixed(0)} ms`,
      ],
      ["fetched from the registry", formatBytes(pulled.fetchedBytes), formatBytes(injected.fetchedBytes)],
      ["stored on the node by containerd", formatBytes(pulled.storedBytes), formatBytes(injected.storedBytes)],
    ],
    [1, 2],
  );
  console.log();
  say(bold(`${times} times as fast, and nothing was copied.`));
}

/** Blocks that containerd's folder takes, without what is mounted in it. */
async function storedBytes(daemon: ContainerdDaemon): Promise<number> {
  await run("sync", ["-f", daemon.root]);
  const [kibibytes] = (await run("du", ["--summarize", "--one-file-system", "--block-size=1K", daemon.root])).split(
    "\t",
  );
  return Number(kibibytes) * 1024;
}
