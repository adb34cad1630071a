import { median } from "../measure/statistics.ts";
import { count, markdownTable, megabytes, significant } from "../measure/table.ts";
import { type Mark, mark } from "../measure/targets.ts";
import type { WrittenAsOnNodes } from "./as-on-nodes.ts";
import type { InjectSet, SetShape } from "./image-set.ts";
import type { Timeline } from "./measured-node.ts";
import type { InjectRun, SlowRun } from "./methods.ts";
import type { Starts } from "./starts.ts";
import type { SyncCounts } from "./sync-counts.ts";

/** All that was measured with one set. */
export type Row = {
  readonly set: InjectSet;
  readonly inject: readonly InjectRun[];
  readonly asOnNodes: WrittenAsOnNodes;
  readonly go: readonly Timeline[];
  readonly pull: SlowRun | undefined;
  readonly imported: SlowRun | undefined;
};

export function renderRows(rows: readonly Row[]): string {
  const parts = [
    markdownTable(
      ["images / layers / GB", "call ms", "first", "usable", "chains", "Go usable", "Go chains", "pull s", "import s"],
      rows.map(({ set, inject, go, pull, imported }) => [
        shape(set),
        ms(middle(inject, callMs)),
        ms(middle(inject, (run) => run.firstMs)),
        ms(middle(inject, (run) => run.usableMs)),
        ms(middle(inject, (run) => run.chainsMs)),
        go.length === 0 ? "" : ms(middle(go, (run) => run.usableMs)),
        go.length === 0 ? "" : ms(middle(go, (run) => run.chainsMs)),
        pull === undefined ? "" : significant(pull.seconds),
        imported === undefined ? "" : significant(imported.seconds),
      ]),
    ),
    "Milliseconds from the execution of the program to its first call and to containerd's own events, medians; a container of the last image ran after each.",
    markdownTable(
      [
        "images / layers / GB",
        "transactions",
        "calls",
        "containerd wrote MB",
        "we KB a layer",
        "as on nodes",
        "disk MB",
        "read of it MB",
      ],
      rows.map(({ set, inject, asOnNodes }) => [
        shape(set),
        count(inject[0]?.report.transactions ?? 0),
        count(inject[0]?.report.calls ?? 0),
        megabytes(middle(inject, (run) => run.writtenBytes)),
        significant(middle(inject, (run) => run.ownBytes ?? Number.NaN) / set.layers / 1e3),
        significant(asOnNodes.ownBytes / set.layers / 1e3),
        megabytes(set.diskBytes),
        megabytes(middle(inject, (run) => run.readBytes)),
      ]),
    ),
    ...rows.map((row) => renderMarks(shape(row.set), marksOf(row))),
  ];
  return parts.join("\n\n");
}

function marksOf({ set, inject, asOnNodes, go, pull, imported }: Row): Mark[] {
  const since = (of: (run: InjectRun) => number) => middle(inject, (run) => of(run) - callMs(run));
  const usable = middle(inject, (run) => run.usableMs);
  const marks = [
    mark(
      "first image, ms after the first call",
      since((run) => run.firstMs),
      100,
    ),
    mark("we, KB a layer, as on nodes", asOnNodes.ownBytes / set.layers / 1e3, 20),
  ];
  if (set.images === 50)
    marks.push(
      mark(
        "usable, ms after the first call",
        since((run) => run.usableMs),
        500,
      ),
      mark("usable, ms after execution", usable, 800),
      mark(
        "chains, ms after the first call",
        since((run) => run.chainsMs),
        2500,
      ),
    );
  if (go.length > 0) {
    const limit = (of: (run: Timeline) => number) => 1.3 * middle(go, of) + 100;
    marks.push(
      mark(
        "usable, ms after the first call, against Go",
        since((run) => run.usableMs),
        limit((run) => run.usableMs),
      ),
      mark(
        "chains, ms after the first call, against Go",
        since((run) => run.chainsMs),
        limit((run) => run.chainsMs),
      ),
    );
  }
  const of = (slow: SlowRun) => `1/${((slow.seconds * 1000) / usable).toFixed(0)}`;
  if (pull !== undefined && imported !== undefined)
    process.stdout.write(`${shape(set)}: usable after ${of(pull)} of a pull, ${of(imported)} of an import\n\n`);
  return marks;
}

/** One line for each figure: `ok` or `OVER` beside its limit. */
export function renderMarks(title: string, marks: readonly Mark[]): string {
  const lines = marks.map(
    ({ what, value, limit, met }) =>
      `  ${met ? "ok  " : "OVER"} ${what}: ${significant(value)} of ${significant(limit)}`,
  );
  return [`${title}:`, ...lines].join("\n");
}

/** `exact`: a run of each without readahead. */
export function bytesTable(
  sets: readonly InjectSet[],
  runs: readonly (readonly InjectRun[])[],
  exact: readonly InjectRun[],
): string {
  const table = markdownTable(
    [
      "images / layers / GB",
      "usable ms",
      "chains ms",
      "read of it MB",
      "cached KB",
      "without readahead",
      "of layers' files",
    ],
    sets.map((set, index) => {
      const each = runs[index] ?? [];
      return [
        shape(set),
        ms(middle(each, (run) => run.usableMs)),
        ms(middle(each, (run) => run.chainsMs)),
        megabytes(middle(each, (run) => run.readBytes)),
        significant(middle(each, (run) => cachedBytes(run)) / 1e3),
        significant(cachedBytes(exact[index]) / 1e3),
        significant((exact[index]?.residency.layerBytes ?? Number.NaN) / 1e3),
      ];
    }),
  );
  const [few = [], many = []] = runs;
  const grown = (name: string, of: (run: InjectRun) => number): Mark => {
    const base = middle(few, of);
    return mark(`${name}, ms more`, middle(many, of) - base, Math.max(0.15 * base, 50));
  };
  const marks = [
    grown("usable", (run) => run.usableMs),
    grown("chains", (run) => run.chainsMs),
    mark("KB of layers' files read", Math.max(...exact.map((run) => run.residency.layerBytes)) / 1e3, 0),
  ];
  return `${table}\n\n${renderMarks("10 times the bytes", marks)}`;
}

export function startsTable({ injected, pulled, diskReads }: Starts): string {
  const row = (name: string, from: typeof injected) => [name, ms(median(from.echo)), ms(median(from.read))];
  const table = markdownTable(
    ["container start, cold page cache, ms", "echo", "read a tenth of the image"],
    [row("injected", injected), row("pulled", pulled)],
  );
  const marks = [
    mark("start, ms", median(injected.echo), median(pulled.echo)),
    mark("first exec that reads a tenth, ms", median(injected.read), median(pulled.read)),
    mark(
      "KB read for a second image on the base, against the first",
      diskReads.second / 1e3,
      diskReads.first / 1e3 / 2,
    ),
  ];
  return `${table}\n\n${renderMarks("starts", marks)}`;
}

export function syncsTable(set: InjectSet, { images, chains, bareSnapshot }: SyncCounts): string {
  const chainSnapshots = set.layers - set.images;
  const kilobytes = (bytes: number, things: number) => bytes / things / 1e3;
  const table = markdownTable(
    ["phase", "transactions", "fdatasync", "written MB", "each", "transactions each", "KB each"],
    (
      [
        ["images", images, set.images, "image"],
        ["chains", chains, chainSnapshots, "snapshot"],
      ] as const
    ).map(([name, cost, things, thing]) => [
      name,
      count(cost.transactions),
      cost.syncs === undefined ? "" : count(cost.syncs),
      megabytes(cost.writtenBytes),
      thing,
      significant(cost.transactions / things),
      significant(kilobytes(cost.writtenBytes, things)),
    ]),
  );
  const marks = [
    mark("transactions a snapshot", chains.transactions / chainSnapshots, 4),
    mark("transactions an image, its snapshot among them", images.transactions / set.images, 4 + 14),
    mark("KB an image", kilobytes(images.writtenBytes, set.images), 650),
    mark("KB a layer", kilobytes(chains.writtenBytes, chainSnapshots), 320),
  ];
  const bare =
    bareSnapshot === undefined
      ? ""
      : `\n\nA snapshot that the Go client prepares and commits, with nothing else: ${significant(bareSnapshot)} fdatasync, ${significant(bareSnapshot / 2)} transactions.`;
  return `${table}\n\n${renderMarks(shape(set), marks)}${bare}`;
}

export function slowSyncsMarks(set: InjectSet, run: InjectRun, syncMs: number): string {
  const limit = 1.5 * 2 * run.report.transactions * syncMs;
  return renderMarks(`${shape(set)}, ${significant(syncMs)} ms a sync`, [
    mark("chains, ms after the first call", run.chainsMs - callMs(run), limit),
  ]);
}

function cachedBytes(run: InjectRun | undefined): number {
  return run === undefined ? Number.NaN : run.residency.layerBytes + run.residency.otherBytes;
}

function shape({ images, layers, bytes }: SetShape): string {
  return `${images} / ${layers} / ${bytes / 1e9}`;
}

function middle<Run>(runs: readonly Run[], of: (run: Run) => number): number {
  return median(runs.map(of));
}

function callMs(run: Timeline): number {
  return run.callMs ?? Number.NaN;
}

function ms(value: number): string {
  return value.toFixed(0);
}
