import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Containerd } from "../../test/support/containerd.ts";
import type { ProgramUsage, Usage } from "./measured-run.ts";
import { type DiskReport, measureBareFetch, measureBuild } from "./nodewarm.ts";
import { measurePull, type PullProgram } from "./pull.ts";
import { median, spread } from "./statistics.ts";

/** Where a row's images come from and where its results go. */
export type Bench = {
  /** `127.0.0.1:PORT` of the registry. */
  readonly host: string;
  readonly work: string;
  readonly program: PullProgram;
};

export type Summary = {
  readonly wallSeconds: number;
  /** See `spread`. */
  readonly wallSpread: number;
  readonly cpuSeconds: number;
  readonly coresBusy: number;
  readonly peakMemoryBytes: number;
};

/** Medians of alternating runs for some images. */
export type SpeedRow = {
  readonly name: string;
  readonly runs: number;
  readonly build: Summary & { readonly peakScratchBytes: number; readonly scratchFiles: number };
  readonly pull: Summary | undefined;
  /** Of a single image: wall time of a program in Node that only fetches, hashes and writes its blobs, in the same runs. */
  readonly bareSeconds: number | undefined;
  /** Wall time of the build as a share of the pull's. */
  readonly ratio: number | undefined;
  readonly disk: DiskReport;
  /** All runs gave the same id. */
  readonly sameDisk: boolean;
};

export type SpeedRowOptions = {
  readonly runs: number;
  /** 0: the pull is left out. */
  readonly pullRuns: number;
  /** Sees what the first pull unpacked. */
  readonly inspectPull?: (containerd: Containerd) => Promise<void>;
  /** Sees the disk of the last build before it is removed. */
  readonly inspectDisk?: (path: string) => Promise<void>;
};

/** Builds and pulls the images in turn. `names` are without the registry. */
export async function measureSpeed(
  bench: Bench,
  name: string,
  names: readonly string[],
  options: SpeedRowOptions,
): Promise<SpeedRow> {
  const references = names.map((each) => `${bench.host}/${each}`);
  const output = join(bench.work, "bench.erofs");
  const builds: ProgramUsage[] = [];
  const pulls: Usage[] = [];
  const bare: Usage[] = [];
  const disks: DiskReport[] = [];
  try {
    for (let run = 0; run < options.runs; run++) {
      if (names.length === 1) bare.push(await measureBareFetch(bench.host, names[0], output));
      await rm(output, { force: true });
      const { usage, disk } = await measureBuild(references, { output, host: bench.host });
      builds.push(usage);
      disks.push(disk);
      if (run === options.runs - 1) await options.inspectDisk?.(output);
      await rm(output, { force: true });
      if (run >= options.pullRuns) continue;
      pulls.push(await measurePull(bench.program, bench.work, references, run === 0 ? options.inspectPull : undefined));
    }
  } finally {
    await rm(output, { force: true });
  }
  const build = summary(builds);
  const pull = pulls.length === 0 ? undefined : summary(pulls);
  return {
    name,
    runs: options.runs,
    build: {
      ...build,
      peakScratchBytes: Math.max(...builds.map((usage) => usage.peakScratchBytes)),
      scratchFiles: Math.max(...builds.map((usage) => usage.scratchFiles)),
    },
    pull,
    bareSeconds: bare.length === 0 ? undefined : median(bare.map(({ wallSeconds }) => wallSeconds)),
    ratio: pull === undefined ? undefined : build.wallSeconds / pull.wallSeconds,
    disk: disks[0],
    sameDisk: disks.every((disk) => disk.id === disks[0].id),
  };
}

function summary(runs: readonly Usage[]): Summary {
  const middle = (value: (usage: Usage) => number) => median(runs.map(value));
  return {
    wallSeconds: middle((usage) => usage.wallSeconds),
    wallSpread: spread(runs.map((usage) => usage.wallSeconds)),
    cpuSeconds: middle((usage) => usage.cpuSeconds),
    coresBusy: middle((usage) => usage.cpuSeconds / usage.wallSeconds),
    // The highest, not the middle one: a limit holds for every run.
    peakMemoryBytes: Math.max(...runs.map((usage) => usage.peakMemoryBytes)),
  };
}
