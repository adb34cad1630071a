import { cp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { InjectSet } from "../inject/image-set.ts";
import { namespace, startNode, watchArrivals } from "../inject/measured-node.ts";
import { runGoClient } from "../inject/methods.ts";
import { median } from "../measure/statistics.ts";
import type { Figure } from "./figures.ts";
import { MeasuredAgent } from "./measured-agent.ts";

/** Milliseconds from the execution of the agent to containerd's own events. */
export type Start = { readonly firstMs: number; readonly usableMs: number; readonly chainsMs: number };

const targets = { firstMs: 300, usableMs: 1000, chainsMs: 3000 };
const patienceMs = 60_000;

export type Starts = { readonly agent: readonly Start[]; readonly go: readonly Start[] };

/** The Go client of `bench:inject`, and a folder for its plan. */
export type Reference = { readonly program: string; readonly work: string };

/** The agent beside fresh containerds, with the disk known from before; in turn with it, the same calls of a Go client, where there is one. */
export async function measureStarts(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
  runs: number,
  go: Reference | undefined,
): Promise<Starts> {
  await using scope = new AsyncDisposableStack();
  const state = join(await temporaryDirectory(scope, "known"), "state");
  await readInFull(runtime, program, set, state);
  const starts: Record<keyof Starts, Start[]> = { agent: [], go: [] };
  for (let round = 0; round < runs; round++) {
    starts.agent.push(await startOnce(runtime, program, set, state));
    if (go !== undefined) starts.go.push(await runGoClient(runtime, go.program, set, go.work));
  }
  return starts;
}

/** Leaves in `state` what an agent knows once it has verified the disk. */
export async function readInFull(
  runtime: ContainerdRuntime,
  program: string,
  set: InjectSet,
  state: string,
): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const agent = await MeasuredAgent.make(scope, program, await startNode(scope, runtime, set.disk));
  await agent.configure({ disks: [set.directory] });
  agent.start();
  await agent.untilWarm(set.images);
  await agent.stop();
  await cp(agent.stateFolder, state, { recursive: true });
}

async function startOnce(runtime: ContainerdRuntime, program: string, set: InjectSet, state: string): Promise<Start> {
  await using scope = new AsyncDisposableStack();
  const daemon = await startNode(scope, runtime, set.disk);
  const agent = await MeasuredAgent.make(scope, program, daemon, state);
  await agent.configure({ disks: [set.directory] });
  const tags = set.named.map(({ name }) => name);
  const arrivals = watchArrivals(daemon, tags);
  await sleep(200);
  const started = agent.start();
  try {
    await untilComplete(agent, arrivals, set);
  } finally {
    await arrivals.stop();
  }
  await agent.untilWarm(set.images);
  await daemon.run({ image: tags.at(-1) ?? "", namespace });
  const { created, committed } = arrivals;
  return {
    firstMs: Math.min(...created) - started,
    usableMs: Math.max(...created) - started,
    chainsMs: Math.max(...committed, ...created) - started,
  };
}

/** Each layer of the set is in one chain only, but for the base of all: a snapshot each, and two that are ours. */
async function untilComplete(
  agent: MeasuredAgent,
  { created, committed }: { readonly created: readonly number[]; readonly committed: readonly number[] },
  set: InjectSet,
): Promise<void> {
  const end = Date.now() + patienceMs;
  while (created.length < set.images || committed.length < set.layers + 1) {
    if (Date.now() > end)
      throw new Error(`${created.length} images and ${committed.length} snapshots appeared:\n${agent.said}`);
    await sleep(20);
  }
  // Whatever comes after these counts too.
  await sleep(300);
}

export function startFigures({ images, layers }: InjectSet, { agent, go }: Starts): readonly Figure[] {
  const names = {
    firstMs: "first image",
    usableMs: `${images} images usable`,
    chainsMs: `${layers} layers' chains complete`,
  };
  const keys = ["firstMs", "usableMs", "chainsMs"] as const;
  const figure = (what: string, values: readonly number[], target: number | undefined): Figure => {
    const range = [Math.min(...values), Math.max(...values)] as const;
    return { part: "start", what, unit: "ms", value: median(values), target, range };
  };
  const of = (starts: readonly Start[], key: keyof Start) => starts.map((start) => start[key]);
  return [
    ...keys.map((key) => figure(`exec to ${names[key]}`, of(agent, key), targets[key])),
    ...(go.length === 0 ? [] : keys.map((key) => figure(`Go client to ${names[key]}`, of(go, key), undefined))),
  ];
}
