import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { findProgram } from "../../test/support/privileges.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { run } from "../suite/command.ts";
import type { InjectSet } from "./image-set.ts";
import { startNode } from "./measured-node.ts";

/** fdatasync calls of containerd, as strace sees them: bolt makes two for each transaction. */
export type SyncCounts = { readonly images: number; readonly chains: number };

/** Counts in runs of their own, because strace slows containerd down; `undefined` without strace. */
export async function countSyncs(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
): Promise<SyncCounts | undefined> {
  const strace = findProgram("strace");
  if (strace === undefined) return undefined;
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const inject = ["inject", set.disk, "--runtime", "containerd", "--address", daemon.address];
  const count = async (args: readonly string[]) => {
    const tracer = spawn(strace, ["-f", "-c", "-e", "trace=fdatasync", "-p", String(daemon.pid)], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const said = text(tracer.stderr);
    await sleep(1000);
    await run(program, args);
    const exit = once(tracer, "exit");
    tracer.kill("SIGINT");
    await exit;
    return Number(/(\d+)\s+(?:\d+\s+)?fdatasync$/m.exec(await said)?.[1]);
  };
  const images = await count([...inject, "--no-wait"]);
  const chains = await count(inject);
  return { images, chains };
}
