import { setTimeout as sleep } from "node:timers/promises";
import type { TestRegistry } from "../../test/support/registry.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { namespace, watchArrivals, writtenBytes } from "../inject/measured-node.ts";
import { dropPageCache } from "../measure/measured-run.ts";
import { median } from "../measure/statistics.ts";
import { run } from "../suite/command.ts";
import type { StoredImage } from "../suite/image-store.ts";
import type { Figure } from "./figures.ts";
import { MeasuredAgent } from "./measured-agent.ts";
import { forgetPeaks, peakBytes, treeWrittenBytes } from "./process-use.ts";

export type FetchRun = {
  readonly seconds: number;
  readonly writtenBytes: number;
  /** Of the agent and its children; 0 of a pull. */
  readonly peakBytes: number;
};
export type Fetching = {
  readonly layers: number;
  readonly pulls: readonly FetchRun[];
  readonly fetches: readonly FetchRun[];
};

const patienceMs = 300_000;

/** What a fetch may take of a pull, by the number of layers. */
const wallTargets: Readonly<Record<number, number>> = { 8: 0.9, 1: 1.1 };

/** `ctr image pull` and the agent, alternating, each into a fresh containerd. */
export async function measureFetching(
  runtime: ContainerdRuntime,
  program: string,
  registry: TestRegistry,
  image: StoredImage,
  runs: number,
): Promise<Fetching> {
  const pulls: FetchRun[] = [];
  const fetches: FetchRun[] = [];
  const ref = `${registry.directHost}/${image.name}`;
  for (let round = 0; round < runs; round++) {
    const both = [
      async () => void pulls.push(await pull(runtime, ref)),
      async () => void fetches.push(await fetchOnce(runtime, program, registry, ref)),
    ];
    // Neither always comes first.
    for (const each of round % 2 === 0 ? both : both.toReversed()) await each();
  }
  return { layers: image.layers.length, pulls, fetches };
}

async function pull(runtime: ContainerdRuntime, ref: string): Promise<FetchRun> {
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope);
  await dropPageCache();
  const before = writtenBytes(daemon.pid);
  const started = performance.now();
  await daemon.ctr("-n", namespace, "image", "pull", "--plain-http", ref);
  await run("sync", ["-f", daemon.root]);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, writtenBytes: writtenBytes(daemon.pid) - before, peakBytes: 0 };
}

/** From the document that lists the image until the tag is there and everything is on the disk. The agent runs before, as containerd does. */
async function fetchOnce(
  runtime: ContainerdRuntime,
  program: string,
  registry: TestRegistry,
  ref: string,
): Promise<FetchRun> {
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope);
  const agent = await MeasuredAgent.make(scope, program, daemon);
  const plainHttp = [registry.directHost];
  await agent.configure({ plainHttp });
  agent.start();
  await agent.until("it is ready", ({ gate }) => gate.isReady);
  const arrivals = watchArrivals(daemon, [ref]);
  await dropPageCache();
  forgetPeaks(agent.pid);
  const written = () => writtenBytes(daemon.pid) + treeWrittenBytes(agent.pid);
  const before = written();
  const started = performance.now();
  await agent.configure({ images: [{ ref }], plainHttp });
  while (arrivals.created.length === 0) {
    if (performance.now() - started > patienceMs) throw new Error(`${ref} does not come:\n${agent.said.slice(-4000)}`);
    await sleep(10);
  }
  await run("sync", ["-f", daemon.root]);
  const seconds = (performance.now() - started) / 1000;
  const result = { seconds, writtenBytes: written() - before, peakBytes: peakBytes(agent.pid) };
  await arrivals.stop();
  await agent.untilWarm(1);
  return result;
}

export function fetchingFigures({ layers, pulls, fetches }: Fetching): readonly Figure[] {
  const part = `fetch, ${layers} ${layers === 1 ? "layer" : "layers"}`;
  const of = (runs: readonly FetchRun[], value: (run: FetchRun) => number) => median(runs.map(value));
  const seconds = (runs: readonly FetchRun[]) => {
    const values = runs.map((each) => each.seconds);
    return { value: median(values), range: [Math.min(...values), Math.max(...values)] as const };
  };
  const [pulled, fetched] = [seconds(pulls), seconds(fetches)];
  const written = of(fetches, (each) => each.writtenBytes) / of(pulls, (each) => each.writtenBytes);
  const peak = Math.max(...fetches.map((each) => each.peakBytes));
  return [
    { part, what: "ctr image pull", unit: "s", target: undefined, ...pulled },
    { part, what: "agent", unit: "s", target: undefined, ...fetched },
    { part, what: "agent / pull", unit: "×", value: fetched.value / pulled.value, target: wallTargets[layers] },
    { part, what: "written, agent / pull", unit: "×", value: written, target: 1.02 },
    { part, what: "peak RSS", unit: "MiB", value: peak / 2 ** 20, target: 150 },
  ];
}
