import type { ImageSet } from "../suite/image-set.ts";
import type { FromRow } from "./from-row.ts";
import type { Machine } from "./machine.ts";
import type { SizeRow } from "./size-row.ts";
import type { SpeedRow, Summary } from "./speed-row.ts";
import { count, markdownTable, mebibytes, megabytes, significant } from "./table.ts";
import { allowedTemporary, type Mark, mark, peakMemoryBytes, wallTargets } from "./targets.ts";

/** Everything that one run of the benchmark found. */
export type BenchReport = {
  readonly machine: Machine;
  readonly containerd: string;
  readonly sets: readonly SetFacts[];
  /** One row for each set. */
  readonly setRows: readonly SpeedRow[];
  readonly imageRows: readonly SpeedRow[];
  readonly sizeRows: readonly SizeRow[];
  readonly fromRows: readonly FromRow[];
};

/** A set without its images. */
export type SetFacts = Omit<ImageSet, "images" | "changed"> & { readonly imageCount: number };

export function renderReport(report: BenchReport): string {
  const { machine, sets } = report;
  const parts = [
    `${machine.processor}, ${machine.cores} cores, ${significant(machine.memoryBytes / 2 ** 30)} GiB; ${machine.system}, Linux ${machine.kernel}, ${machine.fileSystem}; Node ${machine.node}; load average before: ${machine.loadAverage.map(significant).join(" ")}`,
    `Pull: \`ctr image pull\` of containerd ${report.containerd}, then \`sync -f\`. Medians of alternating runs, page cache dropped before each; (±) is half the range. *bare s*: what a program in Node takes that only fetches, hashes and writes the blobs of one image, in one thread.`,
    markdownTable(
      ["set", "images", "layers", "entries", "contents", "gzip MB", "tar MB"],
      sets.map((set) => [
        set.name,
        count(set.imageCount),
        count(set.layers),
        count(set.entries),
        count(set.distinctContents),
        megabytes(set.compressedBytes),
        megabytes(set.tarBytes),
      ]),
    ),
    speedTable([...report.setRows, ...report.imageRows]),
    suiteLine(report.setRows),
    sizeTable(report.sizeRows),
    fromTable(report.fromRows),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** The share of the pull's time that a row may take; sets have one together, and the set of one large layer one of its own. */
function wallTarget(name: string): number | undefined {
  if (name === "ONE-5G") return wallTargets.oneLayer;
  return name.includes("/") ? wallTargets.image : undefined;
}

function speedTable(rows: readonly SpeedRow[]): string {
  const head = [
    "images",
    "runs",
    "bare s",
    "build s",
    "pull s",
    "ratio",
    "",
    "build CPU s",
    "cores",
    "pull CPU s",
    "cores",
  ];
  head.push("peak MiB", "", "temp / disk", "files", "", "same bytes");
  return markdownTable(
    head,
    rows.map((row) => {
      const wallLimit = wallTarget(row.name);
      const temporary = mark("temporary", row.build.peakScratchBytes, allowedTemporary(row.disk.sizeBytes));
      return [
        row.name,
        String(row.runs),
        row.bareSeconds === undefined ? "" : significant(row.bareSeconds),
        wall(row.build, row.runs),
        row.pull ? wall(row.pull, row.runs) : "",
        row.ratio === undefined ? "" : row.ratio.toFixed(2),
        row.ratio === undefined || wallLimit === undefined ? "" : verdict(mark("wall", row.ratio, wallLimit)),
        significant(row.build.cpuSeconds),
        significant(row.build.coresBusy),
        row.pull ? significant(row.pull.cpuSeconds) : "",
        row.pull ? significant(row.pull.coresBusy) : "",
        mebibytes(row.build.peakMemoryBytes),
        verdict(mark("memory", row.build.peakMemoryBytes, peakMemoryBytes)),
        (row.build.peakScratchBytes / row.disk.sizeBytes).toFixed(2),
        String(row.build.scratchFiles),
        verdict(temporary),
        row.sameDisk ? "yes" : "NO",
      ];
    }),
  );
}

function suiteLine(rows: readonly SpeedRow[]): string {
  const pulled = rows.filter((row) => row.pull !== undefined);
  if (pulled.length === 0) return "";
  const build = pulled.reduce((sum, row) => sum + row.build.wallSeconds, 0);
  const pull = pulled.reduce((sum, row) => sum + (row.pull?.wallSeconds ?? 0), 0);
  const suite = mark("suite", build / pull, wallTargets.suite);
  return `All sets: build ${significant(build)} s, pull ${significant(pull)} s, ratio ${suite.value.toFixed(2)} (at most ${suite.limit}: ${verdict(suite)}).`;
}

function sizeTable(rows: readonly SizeRow[]): string {
  if (rows.length === 0) return "";
  const head = ["MB", "disk", "contents", "allowed", "", "metadata", "allowed", "", "blobs", "erofs-cache adds"];
  head.push("allowed", "", "gzip layers", "tar layers", "mkfs.erofs layers", "mkfs.erofs merged");
  return markdownTable(
    head,
    rows.map((row) => [
      row.name,
      megabytes(row.disk.sizeBytes),
      megabytes(row.contents.value),
      megabytes(row.contents.limit),
      verdict(row.contents),
      megabytes(row.metadata.value),
      megabytes(row.metadata.limit),
      verdict(row.metadata),
      megabytes(row.disk.bytes.blobs),
      row.erofsCache ? megabytes(row.erofsCache.value) : "",
      row.erofsCache ? megabytes(row.erofsCache.limit) : "",
      row.erofsCache ? verdict(row.erofsCache) : "",
      megabytes(row.compressedBytes),
      megabytes(row.tarBytes),
      row.mkfs ? megabytes(row.mkfs.layerTreesBytes) : "",
      row.mkfs ? megabytes(row.mkfs.mergedTreesBytes) : "",
    ]),
  );
}

function fromTable(rows: readonly FromRow[]): string {
  if (rows.length === 0) return "";
  const head = ["--from", "full s", "from s", "cp s", "allowed s", "", "peak MiB", "same bytes"];
  head.push("manifests kB", "configs kB", "layers kB", "changed layer kB");
  return markdownTable(
    head,
    rows.map((row) => [
      row.name,
      significant(row.fullSeconds),
      significant(row.fromSeconds),
      significant(row.cpSeconds),
      significant(row.wall.limit),
      verdict(row.wall),
      mebibytes(row.fromPeakMemoryBytes),
      row.sameDisk ? "yes" : "NO",
      significant(row.traffic.manifestBytes / 1000),
      significant(row.traffic.configBytes / 1000),
      significant(row.traffic.layerBytes / 1000),
      significant(row.traffic.changedLayerBytes / 1000),
    ]),
  );
}

function wall(summary: Summary, runs: number): string {
  return `${significant(summary.wallSeconds)}${runs === 1 ? "" : ` (±${Math.round(summary.wallSpread * 100)} %)`}`;
}

function verdict(found: Mark): string {
  return found.met ? "ok" : "OVER";
}
