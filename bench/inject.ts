import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { startRegistry } from "../test/support/registry.ts";
import { type ContainerdRuntime, containerdRuntimes } from "../test/support/runtimes/fleet.ts";
import { writtenAsOnNodes } from "./inject/as-on-nodes.ts";
import { buildGoClient } from "./inject/go-client.ts";
import { type InjectSet, injectSet, type SetShape } from "./inject/image-set.ts";
import { releaseAtEnd } from "./inject/measured-node.ts";
import { type InjectRun, injectInto, pushSet, runGoClient, runImport, runInject, runPull } from "./inject/methods.ts";
import { withoutReadahead } from "./inject/page-residency.ts";
import { bytesTable, type Row, renderRows, slowSyncsMarks, startsTable, syncsTable } from "./inject/report.ts";
import { slowSyncMilliseconds, startWithSlowSyncs } from "./inject/slow-syncs.ts";
import { measureStarts } from "./inject/starts.ts";
import { countSyncs } from "./inject/sync-counts.ts";
import { syncMilliseconds } from "./inject/sync-probe.ts";
import { makeBundle } from "./measure/bundle.ts";
import { describeMachine } from "./measure/machine.ts";
import { dropPageCache } from "./measure/measured-run.ts";
import { openBenchCache } from "./suite/cache.ts";

const usage = `npm run bench:inject -- [options]   compares \`nodewarm inject\` with pulls and imports; needs root

  --containerd V    version of containerd: 2.4.2 (default), 1.6.20, 1.7.24...
  --rows A,B        of ${"one,eight,fifty,scale"}; default one,eight,fifty
  --scale           also the row of 10 GB, which takes 45 GB of disk and a quarter of an hour
  --runs N          injections for each row; default 5
  --parts A,B       of rows,bytes,starts,syncs,slow; default all
  --no-pull         rows without pulls and imports
  --json FILE       write all figures as JSON
`;

/** \`fifty\` has few bytes, so that its pull does not take an hour: what injection takes does not depend on them. */
const shapes: Readonly<Record<string, SetShape>> = {
  one: { images: 1, layers: 4, bytes: 0.1e9 },
  eight: { images: 8, layers: 60, bytes: 2e9 },
  fifty: { images: 50, layers: 500, bytes: 1e9 },
  scale: { images: 50, layers: 500, bytes: 10e9 },
};
/** Equal counts, ten times the bytes. */
const bytesPair: readonly SetShape[] = [
  { images: 8, layers: 60, bytes: 0.2e9 },
  { images: 8, layers: 60, bytes: 2e9 },
];
const bytesRounds = 10;
const startRounds = 20;
const addedSyncMs = 1;

type Options = {
  readonly version: string;
  readonly rows: readonly string[];
  readonly runs: number;
  readonly parts: readonly string[];
  readonly pull: boolean;
  readonly json: string | undefined;
};

async function main(): Promise<void> {
  const options = readOptions();
  const cache = openBenchCache();
  const runtime = (await containerdRuntimes()).find(({ version }) => version === options.version);
  if (runtime === undefined || !runtime.available)
    throw new Error(`containerd ${options.version}: ${runtime?.reason ?? "not among those of the tests"}`);
  const { program } = await makeBundle(join(cache.work, "bundle"));
  const go = await buildGoClient(cache.work);
  if ("reason" in go) note(`the Go client is left out: ${go.reason}`);
  const goProgram = "program" in go ? go.program : undefined;
  const machine = await describeMachine(cache.work);
  const results: Record<string, unknown> = { machine, containerd: runtime.version, syncMs: syncMilliseconds("/tmp") };
  print(
    `${machine.processor}, ${machine.cores} cores; Linux ${machine.kernel}; Node ${machine.node}; containerd ${runtime.version}; ` +
      `fdatasync of a page: median ${(results.syncMs as number).toFixed(2)} ms; load average before: ${machine.loadAverage.map((load) => load.toFixed(1)).join(" ")}`,
  );
  const makeSet = (shape: SetShape) => injectSet(cache.sets.replace(/\/sets$/, ""), shape);

  if (options.parts.includes("rows")) {
    const rows: Row[] = [];
    for (const name of options.rows) {
      const set = await makeSet(shapes[name] as SetShape);
      rows.push(await measureRow(runtime, program, goProgram, set, options, cache.work));
      print(renderRows(rows.slice(-1)));
    }
    results.rows = rows;
    if (rows.length > 1) print(renderRows(rows));
  }
  if (options.parts.includes("bytes")) {
    const sets = await Promise.all(bytesPair.map(makeSet));
    const runs: InjectRun[][] = sets.map(() => []);
    for (let round = 0; round < bytesRounds; round++)
      for (const [index, set] of sets.entries()) runs[index]?.push(await coldInject(runtime, program, set));
    const exact: InjectRun[] = [];
    for (const set of sets) exact.push(await withoutReadahead(set.disk, () => coldInject(runtime, program, set)));
    results.bytes = { runs, exact };
    print(bytesTable(sets, runs, exact));
  }
  if (options.parts.includes("starts")) {
    const set = await makeSet(bytesPair[1] as SetShape);
    const registry = await startRegistry({ directory: set.registry });
    try {
      await pushSet(registry, set);
      const starts = await measureStarts(runtime, program, registry, set, startRounds);
      results.starts = starts;
      print(startsTable(starts));
    } finally {
      await registry.stop();
    }
  }
  if (options.parts.includes("syncs")) {
    const set = await makeSet(shapes.fifty as SetShape);
    const counts = await countSyncs(runtime, program, goProgram, set);
    results.syncs = counts;
    print(syncsTable(set, counts));
  }
  if (options.parts.includes("slow")) {
    const set = await makeSet(shapes.fifty as SetShape);
    const run = await injectWithSlowSyncs(program, set);
    results.slow = run;
    print(
      "reason" in run
        ? `Slow syncs are left out: ${run.reason}`
        : slowSyncsMarks(set, run, await slowSyncMilliseconds("/tmp", addedSyncMs)),
    );
  }
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, undefined, 2)}\n`);
}

async function measureRow(
  runtime: ContainerdRuntime,
  program: string,
  goClient: string | undefined,
  set: InjectSet,
  { runs, pull: withPull }: Options,
  work: string,
): Promise<Row> {
  const inject: InjectRun[] = [];
  const go = [];
  for (let round = 0; round < runs; round++) {
    inject.push(await runInject(runtime, program, set));
    if (goClient !== undefined) go.push(await runGoClient(runtime, goClient, set, work));
  }
  const asOnNodes = await writtenAsOnNodes(runtime.version, program, dirname(set.directory), set);
  if (!withPull) return { set, inject, asOnNodes, go, pull: undefined, imported: undefined };
  note(`pulling ${set.images} images`);
  const registry = await startRegistry({ directory: set.registry });
  try {
    await pushSet(registry, set);
    const pull = await runPull(runtime, registry, set);
    note(`importing ${set.images} images`);
    return { set, inject, asOnNodes, go, pull, imported: await runImport(runtime, set) };
  } finally {
    await registry.stop();
  }
}

async function coldInject(runtime: ContainerdRuntime, program: string, set: InjectSet): Promise<InjectRun> {
  await dropPageCache();
  return runInject(runtime, program, set);
}

async function injectWithSlowSyncs(program: string, set: InjectSet): Promise<InjectRun | { readonly reason: string }> {
  await using scope = new AsyncDisposableStack();
  await releaseAtEnd(scope, set.disk);
  const daemon = await startWithSlowSyncs(scope, addedSyncMs);
  return "reason" in daemon ? daemon : await injectInto(daemon, program, set);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      containerd: { type: "string", default: "2.4.2" },
      rows: { type: "string", default: "one,eight,fifty" },
      scale: { type: "boolean", default: false },
      runs: { type: "string", default: "5" },
      parts: { type: "string", default: "rows,bytes,starts,syncs,slow" },
      "no-pull": { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const rows = [...values.rows.split(","), ...(values.scale ? ["scale"] : [])];
  const runs = Number(values.runs);
  if (values.help || !(runs >= 1) || rows.some((row) => shapes[row] === undefined)) {
    process.stderr.write(usage);
    process.exit(values.help ? 0 : 2);
  }
  const parts = values.parts.split(",");
  return { version: values.containerd, rows, runs, parts, pull: !values["no-pull"], json: values.json };
}

function note(what: string): void {
  process.stderr.write(`bench: ${new Date().toISOString().slice(11, 19)} ${what}\n`);
}

function print(what: string): void {
  process.stdout.write(`${what}\n\n`);
}

await main();
