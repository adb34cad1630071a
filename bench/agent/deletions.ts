import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openContainerd } from "../../src/runtime/containerd/client/containerd-client.ts";
import { openCri } from "../../src/runtime/containerd/client/cri/cri-client.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { InjectSet } from "../inject/image-set.ts";
import { namespace, startNode } from "../inject/measured-node.ts";
import { percentile } from "../measure/statistics.ts";
import type { Figure } from "./figures.ts";
import { MeasuredAgent } from "./measured-agent.ts";
import { readInFull } from "./start.ts";

/** Milliseconds from the call that deleted until the tag was there again, by containerd's own events. */
export type Deletions = { readonly record: readonly number[]; readonly image: readonly number[] };

const targetMs = 500;
const patienceMs = 20_000;

/**
 * Deletes images of a disk, one after the other: half of them as `ctr images rm --sync` does, their tag with garbage collection, the others as
 * kubelet does, with all their names.
 */
export async function measureDeletions(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
  count: number,
): Promise<Deletions> {
  await using scope = new AsyncDisposableStack();
  const state = join(await temporaryDirectory(scope, "known"), "state");
  await readInFull(runtime, program, set, state);
  const daemon = await startNode(scope, runtime, set.disk);
  const agent = await MeasuredAgent.make(scope, program, daemon, state);
  await agent.configure({ disks: [set.directory] });
  agent.start();
  await agent.untilWarm(set.images);
  using client = openContainerd(daemon.address);
  using cri = openCri(daemon.address);
  const returned = new Map<string, number>();
  const stop = new AbortController();
  const watching = (async () => {
    for await (const { subject = "", time } of client.events.subscribe(['topic=="/images/create"'], stop))
      returned.set(subject, time?.getTime() ?? Date.now());
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  watching.catch(() => {});
  const images = client.withNamespace(namespace).images;
  const times: Record<keyof Deletions, number[]> = { record: [], image: [] };
  await sleep(1000);
  for (let round = 0; round < count; round++) {
    const name = set.named[round % set.images]?.name ?? "";
    const kind = Math.floor(round / set.images) % 2 === 0 ? "record" : "image";
    returned.delete(name);
    const deletedAt = Date.now();
    if (kind === "record") await images.delete(name, { sync: true });
    else await cri.images.remove(name);
    times[kind].push((await arrival(returned, name, agent)) - deletedAt);
  }
  stop.abort();
  await watching;
  await agent.untilWarm(set.images);
  // Warm is what starts.
  await daemon.run({ image: set.named[(count - 1) % set.images]?.name ?? "", namespace });
  return times;
}

async function arrival(returned: ReadonlyMap<string, number>, name: string, agent: MeasuredAgent): Promise<number> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const at = returned.get(name);
    if (at !== undefined) return at;
    if (Date.now() > end) throw new Error(`${name} does not come back:\n${agent.said.slice(-4000)}`);
    await sleep(5);
  }
}

export function deletionFigures(times: Deletions): readonly Figure[] {
  const names = { record: "tag deleted", image: "image removed by CRI" };
  return (["record", "image"] as const)
    .filter((kind) => times[kind].length > 0)
    .flatMap((kind): Figure[] => {
      const values = times[kind];
      const what = `${names[kind]} to warm again (${values.length})`;
      const range = [Math.min(...values), Math.max(...values)] as const;
      return [
        {
          part: "delete",
          what: `${what}, median`,
          unit: "ms",
          value: percentile(values, 50),
          target: undefined,
          range,
        },
        { part: "delete", what: `${what}, p99`, unit: "ms", value: percentile(values, 99), target: targetMs },
      ];
    });
}
