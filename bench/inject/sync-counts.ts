import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { InjectReport } from "../../src/runtime/runtime.ts";
import { findProgram } from "../../test/support/privileges.ts";
import type { ContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { run } from "../suite/command.ts";
import type { InjectSet } from "./image-set.ts";
import { startNode, writtenBytes } from "./measured-node.ts";
import { injectArguments, reportOf } from "./methods.ts";

/** What one phase of an injection costs containerd. */
export type PhaseCost = {
  /** As the program counts them. */
  readonly transactions: number;
  readonly writtenBytes: number;
  /** fdatasync calls, as strace sees them; `undefined` without strace. bolt makes two for each transaction. */
  readonly syncs: number | undefined;
};

export type SyncCounts = {
  readonly images: PhaseCost;
  readonly chains: PhaseCost;
  /** fdatasync calls of one snapshot that the Go client prepares and commits, and nothing else; `undefined` without Go or strace. */
  readonly bareSnapshot: number | undefined;
};

const bareSnapshots = 50;

/** Counts in runs of their own, because strace slows containerd down; bytes in another, because it has them written more often. */
export async function countSyncs(
  runtime: ContainerdRuntime,
  program: string,
  goClient: string | undefined,
  set: InjectSet,
): Promise<SyncCounts> {
  const plain = await injectInPhases(runtime, program, set, async (_, work) => {
    await work();
    return undefined;
  });
  const strace = findProgram("strace");
  if (strace === undefined) return { ...plain, bareSnapshot: undefined };
  const traced = await injectInPhases(runtime, program, set, (daemon, work) => countedBy(strace, daemon, work));
  return {
    images: { ...plain.images, syncs: traced.images.syncs },
    chains: { ...plain.chains, syncs: traced.chains.syncs },
    bareSnapshot: goClient === undefined ? undefined : await bareSnapshot(runtime, strace, goClient),
  };
}

type Counted = (daemon: ContainerdDaemon, work: () => Promise<void>) => Promise<number | undefined>;

async function injectInPhases(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
  counted: Counted,
): Promise<{ images: PhaseCost; chains: PhaseCost }> {
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const phase = async (...options: readonly string[]): Promise<PhaseCost> => {
    let report: InjectReport | undefined;
    const before = writtenBytes(daemon.pid);
    const syncs = await counted(daemon, async () => {
      report = reportOf(await run(program, [...injectArguments(set, daemon), ...options]));
    });
    return { transactions: report?.transactions ?? 0, writtenBytes: writtenBytes(daemon.pid) - before, syncs };
  };
  return { images: await phase("--no-wait"), chains: await phase() };
}

/** Calls of fdatasync that containerd makes meanwhile. */
async function countedBy(strace: string, daemon: ContainerdDaemon, work: () => Promise<void>): Promise<number> {
  const tracer = spawn(strace, ["-f", "-c", "-e", "trace=fdatasync", "-p", String(daemon.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said = text(tracer.stderr);
  await sleep(1000);
  await work();
  const exit = once(tracer, "exit");
  tracer.kill("SIGINT");
  await exit;
  // Share of time, seconds, microseconds a call, calls, and errors where there are any.
  return Number(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+fdatasync$/m.exec(await said)?.[1]);
}

async function bareSnapshot(runtime: ContainerdRuntime, strace: string, goClient: string): Promise<number> {
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope);
  const syncs = (count: number) =>
    countedBy(strace, daemon, async () => {
      await run(goClient, ["bare", daemon.address, String(count)]);
    });
  // The first also makes what the databases lack.
  await syncs(1);
  return (await syncs(bareSnapshots)) / bareSnapshots;
}
