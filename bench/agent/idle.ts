import { setTimeout as sleep } from "node:timers/promises";
import type { TestRegistry } from "../../test/support/registry.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import type { InjectSet } from "../inject/image-set.ts";
import { startNode } from "../inject/measured-node.ts";
import { registryName } from "../inject/methods.ts";
import type { Figure } from "./figures.ts";
import { MeasuredAgent } from "./measured-agent.ts";
import { type MemoryUse, memoryUse, workDone } from "./process-use.ts";

export type Idle = {
  /** As soon as all was warm. */
  readonly busy: MemoryUse;
  readonly memory: MemoryUse;
  readonly cpuShare: number;
  readonly wakeUpsPerSecond: number;
};

const mebibyte = 2 ** 20;

/** An agent that injected a disk and fetched one image, left alone for `seconds`, and watched for as long again. */
export async function measureIdle(
  runtime: ContainerdRuntime,
  program: string,
  registry: TestRegistry,
  { set, fetched }: { readonly set: InjectSet; readonly fetched: InjectSet },
  seconds: number,
): Promise<Idle> {
  await using scope = new AsyncDisposableStack();
  const agent = await MeasuredAgent.make(scope, program, await startNode(scope, runtime, set.disk));
  const ref = registryName(registry, fetched.named[0]?.name ?? "");
  await agent.configure({ disks: [set.directory], images: [{ ref }], plainHttp: [registry.directHost] });
  agent.start();
  await agent.untilWarm(set.images + 1);
  const busy = memoryUse(agent.pid);
  await sleep(seconds * 1000);
  const memory = memoryUse(agent.pid);
  const before = workDone(agent.pid);
  const beganMs = performance.now();
  await sleep(seconds * 1000);
  const after = workDone(agent.pid);
  const tookSeconds = (performance.now() - beganMs) / 1000;
  return {
    busy,
    memory,
    cpuShare: (after.cpuSeconds - before.cpuSeconds) / tookSeconds,
    wakeUpsPerSecond: (after.wakeUps - before.wakeUps) / tookSeconds,
  };
}

export function idleFigures({ busy, memory, cpuShare, wakeUpsPerSecond }: Idle): readonly Figure[] {
  const part = "idle";
  return [
    { part, what: "RSS when all is warm", unit: "MiB", value: busy.rssBytes / mebibyte, target: undefined },
    { part, what: "RSS afterwards", unit: "MiB", value: memory.rssBytes / mebibyte, target: 80 },
    { part, what: "PSS afterwards", unit: "MiB", value: memory.pssBytes / mebibyte, target: undefined },
    { part, what: "of a core", unit: "%", value: cpuShare * 100, target: 0.2 },
    { part, what: "wake-ups of all threads", unit: "/s", value: wakeUpsPerSecond, target: undefined },
  ];
}
