import { readFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openContainerd } from "../../src/runtime/containerd/client/containerd-client.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { readDiskSource } from "../../src/runtime/host/disk-source.ts";
import type { ContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import type { Scope } from "../../test/support/temporary.ts";
import { run } from "../suite/command.ts";

export const namespace = "k8s.io";

/** What containerd said while something was done to it: milliseconds after the program was executed. */
export type Timeline = {
  /** It connected to containerd; `undefined` for programs that do not tell. */
  readonly callMs: number | undefined;
  /** A tag of the set was there. */
  readonly firstMs: number;
  /** The last tag of the set was there. */
  readonly usableMs: number;
  /** The last snapshot was committed. */
  readonly chainsMs: number;
  /** The program had ended. */
  readonly endMs: number;
  /** Bytes that containerd wrote to the disk. */
  readonly writtenBytes: number;
  /** Bytes that the program itself wrote; `undefined` for programs that do not tell. */
  readonly ownBytes: number | undefined;
  readonly stdout: string;
};

/** A fresh containerd; the disk that is injected into it is released when the scope ends. */
export async function startNode(scope: Scope, runtime: ContainerdRuntime, disk: string): Promise<ContainerdDaemon> {
  await releaseAtEnd(scope, disk);
  const daemon = await runtime.start(scope);
  await untilIdle(daemon.pid);
  return daemon;
}

/** Waits until a process does nothing: a containerd that is still starting is not one that runs. At most some seconds. */
async function untilIdle(pid: number | undefined): Promise<void> {
  let before = "";
  for (let tries = 0; tries < 20; tries++) {
    // User and system time, in ticks (proc(5), `stat`, fields 14 and 15).
    const ticks = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ").slice(11, 13).join(" ") ?? "";
    if (ticks === before) return;
    before = ticks;
    await sleep(250);
  }
}

/** Clears the mount point of a disk away at the end. */
export async function releaseAtEnd(scope: Scope, disk: string): Promise<void> {
  const mountPoint = diskMountPoint((await readDiskSource(disk)).id);
  scope.defer(async () => {
    await run("umount", ["-l", mountPoint]).catch(() => {});
    await rm(mountPoint, { recursive: true, force: true }).catch(() => {});
  });
}

/**
 * Runs a program and takes the times from the events of containerd, outside of the program; only a Node program tells by itself when it makes
 * its first call (`tell.cjs`). `tags` are the names that count.
 */
export async function observe(
  daemon: ContainerdDaemon,
  tags: readonly string[],
  program: readonly [string, ...string[]],
): Promise<Timeline> {
  const arrivals = watchArrivals(daemon, tags);
  const { created, committed } = arrivals;
  const [command, ...args] = program;
  const told = join(daemon.directory, "tmp", "told");
  const env = {
    NODE_OPTIONS: `--require ${join(import.meta.dirname, "tell.cjs")}`,
    NODEWARM_BENCH_TELL: told,
  };
  let stdout: string;
  let started: number;
  let endMs: number;
  let written: number;
  try {
    await sleep(200);
    const before = writtenBytes(daemon.pid);
    started = Date.now();
    stdout = await run(command, args, { env });
    endMs = Date.now() - started;
    await sleep(200);
    written = writtenBytes(daemon.pid) - before;
  } finally {
    await arrivals.stop();
  }
  const wanted = new Set(tags).size;
  if (created.length !== wanted) throw new Error(`${command}: ${created.length} of ${wanted} images appeared`);
  const { calledAt, writtenBytes: ownBytes }: { calledAt?: number; writtenBytes?: number } = JSON.parse(
    await readFile(told, "utf8").catch(() => "{}"),
  );
  return {
    callMs: calledAt === undefined ? undefined : calledAt - started,
    ownBytes,
    firstMs: Math.min(...created) - started,
    usableMs: Math.max(...created) - started,
    chainsMs: Math.max(...committed, ...created) - started,
    endMs,
    writtenBytes: written,
    stdout,
  };
}

/** What containerd said so far, in milliseconds since 1970. */
export type Arrivals = {
  /** Tags that appeared, of those that count. */
  readonly created: readonly number[];
  /** Snapshots. */
  readonly committed: readonly number[];
  /** Throws when the events broke off. */
  stop(): Promise<void>;
};

/** Listens to the events of containerd from now on. `tags` are the names that count. */
export function watchArrivals({ address }: ContainerdDaemon, tags: readonly string[]): Arrivals {
  const client = openContainerd(address);
  const stop = new AbortController();
  const wanted = new Set(tags);
  const created: number[] = [];
  const committed: number[] = [];
  const watching = (async () => {
    const filters = ['topic~="/images/"', 'topic=="/snapshot/commit"'];
    for await (const { topic, subject, time } of client.events.subscribe(filters, { signal: stop.signal })) {
      const at = time?.getTime() ?? Date.now();
      if (topic === "/snapshot/commit") committed.push(at);
      else if (topic === "/images/create" && wanted.has(subject ?? "")) created.push(at);
    }
  })()
    .catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    })
    .finally(() => client.close());
  watching.catch(() => {});
  return {
    created,
    committed,
    async stop() {
      stop.abort();
      await watching;
    },
  };
}

/** Bytes that a process caused to be written to storage (proc(5), `io`). */
export function writtenBytes(pid: number | undefined): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
}
