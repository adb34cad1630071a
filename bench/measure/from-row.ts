import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startRegistry } from "../../test/support/registry.ts";
import { run } from "../suite/command.ts";
import type { ImageSet } from "../suite/image-set.ts";
import type { StoredImage } from "../suite/image-store.ts";
import { dropPageCache } from "./measured-run.ts";
import { measureBuild } from "./nodewarm.ts";
import type { Bench } from "./speed-row.ts";
import { median } from "./statistics.ts";
import { allowedFrom, type Mark, mark } from "./targets.ts";

/** A build over an older disk that lacks one small layer. */
export type FromRow = {
  readonly name: string;
  readonly fullSeconds: number;
  readonly fromSeconds: number;
  /** `cp --reflink=never OLD X && sync X`. */
  readonly cpSeconds: number;
  readonly fromPeakMemoryBytes: number;
  /** Both ways gave the same id. */
  readonly sameDisk: boolean;
  readonly traffic: Traffic;
  readonly wall: Mark;
};

/** Body bytes that the registry sent, by what they were. */
export type Traffic = {
  readonly manifestBytes: number;
  readonly configBytes: number;
  readonly layerBytes: number;
  /** Compressed size of the layers that the old disk lacks. */
  readonly changedLayerBytes: number;
};

/** Compares builds of the set's changed images with and without an older disk, in turn. */
export async function measureFrom(
  bench: Bench,
  set: ImageSet,
  changed: readonly StoredImage[],
  options: { readonly runs: number; readonly storage: string },
): Promise<FromRow> {
  const old = join(bench.work, "old.erofs");
  const output = join(bench.work, "new.erofs");
  const host = bench.host;
  const before = set.images.map((image) => `${host}/${image.name}`);
  const after = changed.map((image) => `${host}/${image.name}`);
  const seconds = { full: [] as number[], from: [] as number[], cp: [] as number[] };
  const ids = new Set<string>();
  let fromPeakMemoryBytes = 0;
  try {
    await measureBuild(before, { output: old, host });
    const ways = [
      async () => {
        const { usage, disk } = await measureBuild(after, { output, host });
        seconds.full.push(usage.wallSeconds);
        ids.add(disk.id);
      },
      async () => {
        const { usage, disk } = await measureBuild(after, { output, host, more: ["--from", old] });
        seconds.from.push(usage.wallSeconds);
        fromPeakMemoryBytes = Math.max(fromPeakMemoryBytes, usage.peakMemoryBytes);
        ids.add(disk.id);
      },
      async () => seconds.cp.push(await measureCopy(old, output)),
    ];
    for (let index = 0; index < options.runs; index++) {
      // Whoever follows one that has used much memory is faster: the host has not taken it back yet.
      const forwards = index % 2 === 0;
      for (const way of forwards ? ways : ways.toReversed()) {
        await way();
        await rm(output);
      }
    }
    const traffic = await countTraffic(options.storage, set, changed, { old, output });
    const [fullSeconds, fromSeconds, cpSeconds] = [seconds.full, seconds.from, seconds.cp].map(median);
    const wall = mark("--from", fromSeconds, allowedFrom(fullSeconds, cpSeconds));
    const sameDisk = ids.size === 1;
    return { name: set.name, fullSeconds, fromSeconds, cpSeconds, fromPeakMemoryBytes, sameDisk, traffic, wall };
  } finally {
    await rm(old, { force: true });
    await rm(output, { force: true });
  }
}

async function measureCopy(from: string, to: string): Promise<number> {
  await dropPageCache();
  const started = performance.now();
  await run("cp", ["--reflink=never", from, to]);
  await run("sync", [to]);
  return (performance.now() - started) / 1000;
}

async function countTraffic(
  storage: string,
  set: ImageSet,
  changed: readonly StoredImage[],
  paths: { readonly old: string; readonly output: string },
): Promise<Traffic> {
  const registry = await startRegistry({ directory: storage });
  try {
    const references = changed.map((image) => `${registry.host}/${image.name}`);
    await measureBuild(references, { output: paths.output, host: registry.host, more: ["--from", paths.old] });
    const configs = new Set(changed.map((image) => image.configDigest));
    const had = new Set(set.images.flatMap((image) => image.layers.map((layer) => layer.diffID)));
    const added = new Map<string, number>();
    for (const layer of changed.flatMap((image) => image.layers)) {
      if (!had.has(layer.diffID)) added.set(layer.diffID, layer.compressedBytes);
    }
    let [manifestBytes, configBytes, layerBytes] = [0, 0, 0];
    for (const { path, bytes } of registry.requests) {
      const digest = /\/blobs\/(sha256:[0-9a-f]{64})/.exec(path)?.[1];
      if (digest === undefined) manifestBytes += bytes;
      else if (configs.has(digest)) configBytes += bytes;
      else layerBytes += bytes;
    }
    const changedLayerBytes = [...added.values()].reduce((sum, bytes) => sum + bytes, 0);
    return { manifestBytes, configBytes, layerBytes, changedLayerBytes };
  } finally {
    await registry.stop();
  }
}
