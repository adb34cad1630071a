import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startRegistry } from "../test/support/registry.ts";
import { countDiskTrees } from "./measure/disk-trees.ts";
import { measureFrom } from "./measure/from-row.ts";
import { describeMachine } from "./measure/machine.ts";
import { type MkfsSizes, measureMkfs } from "./measure/mkfs-erofs.ts";
import { findPullProgram } from "./measure/pull.ts";
import { type BenchReport, renderReport } from "./measure/report.ts";
import { measureLayerImages, type SizeRow, sizeRow } from "./measure/size-row.ts";
import { type Bench, measureSpeed, type SpeedRow } from "./measure/speed-row.ts";
import type { TreeCounts } from "./measure/targets.ts";
import { openBenchCache } from "./suite/cache.ts";
import { DebianPackages } from "./suite/debian.ts";
import { type ImageSet, loadSet, type Scale, type SuiteContext } from "./suite/image-set.ts";
import { ImageStore } from "./suite/image-store.ts";
import { setGenerators } from "./suite/sets.ts";

const usage = `npm run bench:build -- [options]   compares \`nodewarm build\` with pulls; needs root and Debian's packages

  --sets A,B        of ${setGenerators.map((set) => set.name).join(", ")}; default all
  --scale SCALE     full (hours, 70 GB free) or small (minutes); default full
  --runs N          alternating runs for each row; default 5
  --images N        images of each set that also get a row of their own; default all
  --no-pull         leave the pulls out
  --no-extras       leave out mkfs.erofs, --erofs-cache and --from
  --generate        only make the sets
  --json FILE       write everything as JSON
`;

/** Uncompressed bytes up to which `mkfs.erofs` packs the trees of a set: it takes longer than all the rest. */
const mkfsTarBytes = 4e9;
/** Sets of more entries are pulled once: unpacking millions of files takes minutes and says little about the rest. */
const manyEntries = 1_000_000;
/** What the largest row takes beside the cache: three disks of it, or one and what containerd unpacks. */
const wantedFreeBytes = { small: 5e9, full: 40e9 } as const;

type Options = {
  readonly sets: readonly string[];
  readonly scale: Scale;
  readonly runs: number;
  readonly images: number;
  readonly pull: boolean;
  readonly extras: boolean;
  readonly generateOnly: boolean;
  readonly json: string | undefined;
};

type GrowingReport = {
  -readonly [Key in keyof BenchReport]: BenchReport[Key] extends readonly (infer Row)[] ? Row[] : BenchReport[Key];
};

async function main(): Promise<void> {
  const options = readOptions();
  const cache = openBenchCache();
  const store = new ImageStore(cache, options.scale === "full" ? "" : `-${options.scale}`);
  const context: SuiteContext = { cache, store, debian: new DebianPackages(cache), scale: options.scale };
  const sets: ImageSet[] = [];
  for (const generator of setGenerators) {
    if (options.sets.includes(generator.name)) sets.push(await loadSet(generator, context));
  }
  if (options.generateOnly) return;
  const program = await findPullProgram();
  const machine = await describeMachine(cache.work);
  if (machine.freeBytes < wantedFreeBytes[options.scale]) {
    note(`only ${Math.floor(machine.freeBytes / 1e9)} GB are free in ${cache.work}: large sets may not fit`);
  }
  const registry = await startRegistry({ directory: cache.registry });
  const work = await mkdtemp(join(cache.work, "run-"));
  const report: GrowingReport = {
    machine,
    containerd: program.version,
    sets: [],
    setRows: [],
    imageRows: [],
    sizeRows: [],
    fromRows: [],
  };
  try {
    const bench: Bench = { host: registry.directHost, work, program };
    for (const set of sets) {
      try {
        await measureAll(bench, set, options, report, cache.registry);
      } catch (error) {
        process.exitCode = 1;
        note(`${set.name} failed: ${error instanceof Error ? error.stack : error}`);
      }
      if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
    await registry.stop();
  }
  process.stdout.write(renderReport(report));
}

/** Adds everything about a set to `report`, row by row. */
async function measureAll(
  bench: Bench,
  set: ImageSet,
  options: Options,
  report: GrowingReport,
  storage: string,
): Promise<void> {
  const { images, changed, ...facts } = set;
  report.sets.push({ ...facts, imageCount: images.length });
  const { row, size } = await measureSet(bench, set, options);
  report.setRows.push(row);
  report.sizeRows.push(size);
  if (images.length > 1 && set.entries < manyEntries) {
    for (const image of images.slice(0, options.images)) {
      note(image.name);
      const runs = { runs: options.runs, pullRuns: options.pull ? options.runs : 0 };
      report.imageRows.push(await measureSpeed(bench, image.name, [image.name], runs));
    }
  }
  if (changed !== undefined && options.extras) {
    note(`${set.name} --from`);
    report.fromRows.push(await measureFrom(bench, set, changed, { runs: options.runs, storage }));
  }
}

async function measureSet(bench: Bench, set: ImageSet, options: Options): Promise<{ row: SpeedRow; size: SizeRow }> {
  note(set.name);
  let mkfs: MkfsSizes | undefined;
  let trees: TreeCounts | undefined;
  const many = set.entries >= manyEntries;
  const names = set.images.map((image) => image.name);
  const row = await measureSpeed(bench, set.name, names, {
    runs: options.runs,
    pullRuns: options.pull ? (many ? 1 : options.runs) : 0,
    inspectPull: async (containerd) => {
      const imageTarBytes = set.images.flatMap((image) => image.layers).reduce((sum, layer) => sum + layer.tarBytes, 0);
      if (options.extras && imageTarBytes <= mkfsTarBytes) mkfs = await measureMkfs(containerd, bench.work, set.images);
    },
    inspectDisk: async (path) => {
      trees = await countDiskTrees(path);
    },
  });
  if (trees === undefined) throw new Error("the disk was not counted");
  const layerImages = options.extras ? await measureLayerImages(bench, set, row.disk) : undefined;
  return { row, size: sizeRow(set, row.disk, trees, mkfs, layerImages) };
}

function readOptions(): Options {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      sets: { type: "string", default: setGenerators.map((set) => set.name).join(",") },
      scale: { type: "string", default: "full" },
      runs: { type: "string", default: "5" },
      images: { type: "string", default: "1000" },
      pull: { type: "boolean", default: true },
      extras: { type: "boolean", default: true },
      generate: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const scale = values.scale;
  const sets = values.sets.split(",");
  const unknown = sets.find((name) => !setGenerators.some((set) => set.name === name));
  const [runs, images] = [Number(values.runs), Number(values.images)];
  if (
    values.help ||
    unknown !== undefined ||
    (scale !== "full" && scale !== "small") ||
    !(runs >= 1) ||
    !(images >= 0)
  ) {
    process.stderr.write(unknown === undefined ? usage : `There is no set ${unknown}.\n${usage}`);
    process.exit(values.help ? 0 : 2);
  }
  const { pull, extras, generate, json } = values;
  return { sets, scale, runs, images, pull, extras, generateOnly: generate, json };
}

function note(what: string): void {
  process.stderr.write(`bench: ${new Date().toISOString().slice(11, 19)} ${what}\n`);
}

await main();
