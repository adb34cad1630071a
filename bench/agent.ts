import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startRegistry, type TestRegistry } from "../test/support/registry.ts";
import { type ContainerdRuntime, containerdRuntimes } from "../test/support/runtimes/fleet.ts";
import { deletionFigures, measureDeletions } from "./agent/deletions.ts";
import { fetchingFigures, measureFetching } from "./agent/fetching.ts";
import { type Figure, figuresTable } from "./agent/figures.ts";
import { idleFigures, measureIdle } from "./agent/idle.ts";
import { measureMovedTag, movedTagFigures } from "./agent/moved-tag.ts";
import { measureStarts, startFigures } from "./agent/start.ts";
import { layeredImage, storagePath } from "./fetch/layered-image.ts";
import { buildGoClient } from "./inject/go-client.ts";
import { injectSet, type SetShape } from "./inject/image-set.ts";
import { pushSet } from "./inject/methods.ts";
import { syncMilliseconds } from "./inject/sync-probe.ts";
import { makeBundle } from "./measure/bundle.ts";
import { describeMachine } from "./measure/machine.ts";
import { type BenchCache, openBenchCache } from "./suite/cache.ts";

import type { StoredImage } from "./suite/image-store.ts";

const usage = `npm run bench:agent -- [options]   what \`nodewarm agent\` takes, beside its targets; needs root

  --parts A,B       of start,idle,delete,fetch,tag; default all
  --runs N          starts, and alternating pulls and fetches; default 5
  --containerd V    version of containerd: 2.4.2 (default), 1.6.20, 1.7.24...
  --deletions N     default 200
  --idle SECONDS    left alone, and then watched; default 60 each
  --layers A,B      images of so many layers that are fetched; default 8,1
  --mb N            compressed size of each in MB; default 1000
  --program FILE    an executable to measure; default a bundle made before
  --json FILE       write all figures as JSON
`;

const fifty: SetShape = { images: 50, layers: 500, bytes: 1e9 };
const hundred: SetShape = { images: 100, layers: 1000, bytes: 0.1e9 };
const one: SetShape = { images: 1, layers: 4, bytes: 0.1e9 };

type Bench = {
  readonly cache: BenchCache;
  readonly runtime: ContainerdRuntime;
  readonly program: string;
  readonly runs: number;
  readonly deletions: number;
  readonly idleSeconds: number;
  readonly layers: readonly number[];
  readonly imageBytes: number;
};

/** Each gives its figures, and for `--json` what they are made of. */
const parts: Readonly<Record<string, (bench: Bench) => Promise<{ figures: readonly Figure[]; raw: unknown }>>> = {
  async start({ cache, runtime, program, runs }) {
    const set = await madeSet(cache, fifty);
    const built = await buildGoClient(cache.work);
    if ("reason" in built) process.stderr.write(`bench: the Go client is left out: ${built.reason}\n`);
    const go = "program" in built ? { program: built.program, work: cache.work } : undefined;
    const raw = await measureStarts(runtime, program, set, runs, go);
    return { figures: startFigures(set, raw), raw };
  },
  async idle({ cache, runtime, program, idleSeconds }) {
    const [set, fetched] = [await madeSet(cache, hundred), await madeSet(cache, one)];
    const raw = await withRegistry(fetched.registry, async (registry) => {
      await pushSet(registry, fetched);
      return measureIdle(runtime, program, registry, { set, fetched }, idleSeconds);
    });
    return { figures: idleFigures(raw), raw };
  },
  async delete({ cache, runtime, program, deletions }) {
    const raw = await measureDeletions(runtime, program, await madeSet(cache, fifty), deletions);
    return { figures: deletionFigures(raw), raw };
  },
  async fetch({ cache, runtime, program, runs, layers, imageBytes }) {
    const images: StoredImage[] = [];
    for (const count of layers) images.push(await layeredImage(cache, count, imageBytes));
    const raw = await withRegistry(storagePath(cache), async (registry) => {
      const all = [];
      for (const image of images) all.push(await measureFetching(runtime, program, registry, image, runs));
      return all;
    });
    return { figures: raw.flatMap(fetchingFigures), raw };
  },
  async tag({ runtime, program }) {
    const raw = await measureMovedTag(runtime, program);
    return { figures: movedTagFigures(raw), raw };
  },
};

async function main(): Promise<void> {
  const { values, chosen } = readOptions();
  const runtime = (await containerdRuntimes()).find(({ version }) => version === values.containerd);
  if (runtime === undefined || !runtime.available)
    throw new Error(`containerd ${values.containerd}: ${runtime?.reason ?? "not among those of the tests"}`);
  const cache = openBenchCache();
  const program = values.program ?? (await makeBundle(join(cache.work, "bundle"))).program;
  const bench: Bench = {
    cache,
    runtime,
    program,
    runs: Number(values.runs),
    deletions: Number(values.deletions),
    idleSeconds: Number(values.idle),
    layers: values.layers.split(",").map(Number),
    imageBytes: Number(values.mb) * 1e6,
  };
  const machine = await describeMachine(cache.work);
  const syncMs = syncMilliseconds("/tmp");
  const results: Record<string, unknown> = { machine, containerd: runtime.version, syncMs };
  const figures: Figure[] = [];
  for (const name of chosen) {
    process.stderr.write(`bench: ${new Date().toISOString().slice(11, 19)} ${name}\n`);
    const result = await parts[name]?.(bench);
    figures.push(...(result?.figures ?? []));
    results[name] = result?.raw;
  }
  const load = machine.loadAverage.map((each) => each.toFixed(1)).join(" ");
  process.stdout.write(
    `${machine.processor}, ${machine.cores} cores; Linux ${machine.kernel}; Node ${machine.node}; containerd ${runtime.version}; ` +
      `fdatasync of a page: median ${syncMs.toFixed(2)} ms; load average before: ${load}\n\n${figuresTable(figures)}\n`,
  );
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ ...results, figures }, undefined, 2)}\n`);
}

function madeSet(cache: BenchCache, shape: SetShape) {
  return injectSet(cache.sets.replace(/\/sets$/, ""), shape);
}

async function withRegistry<Result>(
  directory: string,
  work: (registry: TestRegistry) => Promise<Result>,
): Promise<Result> {
  const registry = await startRegistry({ directory });
  try {
    return await work(registry);
  } finally {
    await registry.stop();
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      parts: { type: "string", default: Object.keys(parts).join(",") },
      runs: { type: "string", default: "5" },
      containerd: { type: "string", default: "2.4.2" },
      deletions: { type: "string", default: "200" },
      idle: { type: "string", default: "60" },
      layers: { type: "string", default: "8,1" },
      mb: { type: "string", default: "1000" },
      program: { type: "string" },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const chosen = values.parts.split(",");
  const numbers = [values.runs, values.deletions, values.idle, values.mb, ...values.layers.split(",")];
  const isWrong = chosen.some((part) => !Object.hasOwn(parts, part)) || numbers.some((text) => !(Number(text) > 0));
  if (values.help || isWrong) {
    process.stderr.write(usage);
    process.exit(values.help ? 0 : 2);
  }
  return { values, chosen };
}

await main();
