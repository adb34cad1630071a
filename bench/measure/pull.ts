import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Containerd } from "../../test/support/containerd.ts";
import { containerd24Binaries, containerd24Version } from "../../test/support/containerd-2.4.ts";
import { startDaemon } from "../../test/support/processes.ts";
import { run } from "../suite/command.ts";
import { dropPageCache, type Usage } from "./measured-run.ts";
import { peakMemory, processSeconds } from "./process-tree.ts";

/** The containerd that pulls are measured with. */
export type PullProgram = { readonly binaries: string; readonly version: string };

/** containerd 2.4.2 where it can be built, else the machine's own. */
export async function findPullProgram(): Promise<PullProgram> {
  const binaries = await containerd24Binaries();
  if (binaries !== undefined) return { binaries, version: containerd24Version };
  const version = /\s(v?\d+\.\d+\.\d+\S*)/.exec(await run("containerd", ["--version"]))?.[1] ?? "unknown";
  return { binaries: "/usr/bin", version };
}

/**
 * `ctr image pull` of the images, one after the other, into a containerd whose root is fresh, then `sync -f`; the page cache
 * is dropped before. `inspect` sees the unpacked layers before all is removed again.
 */
export async function measurePull(
  program: PullProgram,
  work: string,
  references: readonly string[],
  inspect: (containerd: Containerd) => Promise<void> = async () => {},
): Promise<Usage> {
  const directory = await mkdtemp(join(work, "c-"));
  try {
    await using scope = new AsyncDisposableStack();
    const { containerd, pid } = await start(scope, program, directory);
    await dropPageCache();
    const cpuBefore = processSeconds(pid);
    const ownBefore = processSeconds(process.pid).children;
    const started = performance.now();
    for (const reference of references) {
      await containerd.ctr("-n", "bench", "image", "pull", "--plain-http", reference);
    }
    await run("sync", ["-f", join(directory, "root")]);
    const wallSeconds = (performance.now() - started) / 1000;
    const cpu = processSeconds(pid);
    const ctr = processSeconds(process.pid).children - ownBefore;
    const cpuSeconds = cpu.own + cpu.children - cpuBefore.own - cpuBefore.children + ctr;
    const usage = { wallSeconds, cpuSeconds, peakMemoryBytes: peakMemory(pid) };
    await inspect(containerd);
    return usage;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function start(
  scope: AsyncDisposableStack,
  program: PullProgram,
  directory: string,
): Promise<{ containerd: Containerd; pid: number }> {
  // A path to a socket has at most 107 bytes: the state lies elsewhere.
  const state = await mkdtemp("/run/nodewarm-bench-");
  scope.defer(() => rm(state, { recursive: true, force: true }));
  const address = join(state, "s");
  const file = join(directory, "config.toml");
  await mkdir(join(directory, "root"));
  await writeFile(file, configuration(directory, state, address));
  const env = { PATH: `${program.binaries}:${process.env.PATH}:/usr/sbin:/sbin`, NOTIFY_SOCKET: "" };
  const ctr = (...args: readonly string[]) => run(join(program.binaries, "ctr"), ["-a", address, ...args], { env });
  const ready = () => ctr("--connect-timeout", "1s", "version").then(yes, no);
  const options = { logFile: join(directory, "log"), env };
  const daemon = await startDaemon(scope, join(program.binaries, "containerd"), ["--config", file], options, ready);
  return { containerd: { address, directory, ctr, log: daemon.log }, pid: daemon.pid };
}

const yes = () => true;
const no = () => false;

function configuration(directory: string, state: string, address: string): string {
  return `version = 2
root = "${directory}/root"
state = "${state}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
address = "${address}"
[ttrpc]
address = "${address}.ttrpc"
[debug]
level = "warn"
`;
}
