import { blockBytes, maximumBlocks } from "../../filesystem/erofs/constants.ts";
import { limitValues } from "../../oci/limit.ts";
import { diskLimits } from "../limits.ts";
import { planBlobs } from "./blob-plan.ts";
import { ContentStore } from "./contents/content-store.ts";
import type { BuildOptions, BuildReport } from "./contract.ts";
import { distinctLayers } from "./layers/distinct-layers.ts";
import { readLayers } from "./layers/read-layers.ts";
import { PartialFile } from "./partial-file.ts";
import { type DiskData, writeMetadata } from "./write-metadata.ts";

/**
 * Builds a disk. The file at `options.output` appears by rename when it is complete and durable; on any failure, and when the signal
 * aborts, what was there stays and nothing else is left. Throws `DiskError`, `LayerError`, `OciError` or `ErofsError`.
 */
export async function buildDisk(options: BuildOptions): Promise<BuildReport> {
  const start = performance.now();
  const file = await PartialFile.create(options.output);
  try {
    return await buildInto(file, options, start);
  } catch (error) {
    await file.discard();
    throw options.signal.aborted ? options.signal.reason : error;
  }
}

async function buildInto(file: PartialFile, options: BuildOptions, start: number): Promise<BuildReport> {
  const seconds = (since: number): number => Math.round(performance.now() - since) / 1000;
  options.onEvent?.({ type: "phase", phase: "layers" });
  const data = await writeData(file, options);
  const layersSeconds = seconds(start);
  file.beginSync();

  options.onEvent?.({ type: "phase", phase: "metadata" });
  const metadataStart = performance.now();
  const createdSeconds =
    options.createdSeconds ??
    options.images.reduce((newest, { createdSeconds }) => Math.max(newest, createdSeconds ?? 0), 0);
  const created = {
    seconds: createdSeconds,
    text: rfc3339(createdSeconds),
    sequence: options.sequence ?? createdSeconds,
  };
  const written = await writeMetadata(file, data, options, created);
  const metadataSeconds = seconds(metadataStart);

  options.onEvent?.({ type: "phase", phase: "sync" });
  const syncStart = performance.now();
  options.signal.throwIfAborted();
  await file.commit();
  return {
    path: options.output,
    id: written.id,
    line: options.line,
    sequence: created.sequence,
    created: created.text,
    platform: options.platform,
    images: options.images.length,
    layers: data.read.trees.size,
    ...written.report,
    seconds: { layers: layersSeconds, metadata: metadataSeconds, sync: seconds(syncStart), total: seconds(start) },
  };
}

/** Not by `toISOString`, which loads the time zones of this machine: 20 ms with a cold page cache. */
function rfc3339(seconds: number): string {
  const time = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${String(time.getUTCFullYear()).padStart(4, "0")}-${two(time.getUTCMonth() + 1)}-${two(time.getUTCDate())}`;
  return `${day}T${two(time.getUTCHours())}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())}Z`;
}

/** Blobs and contents. */
async function writeData(file: PartialFile, options: BuildOptions): Promise<DiskData> {
  const plan = planBlobs(options.images, options.blobs);
  for (const { descriptor, bytes } of plan.documents) {
    const place = plan.blobs.get(descriptor.digest);
    if (place !== undefined) await file.write(bytes, place.firstBlock * blockBytes);
  }
  const contents = new ContentStore(file, plan.endBlock);
  file.expectNoReads(plan.endBlock * blockBytes, maximumBlocks * blockBytes);
  const read = await readLayers({
    layers: distinctLayers(options.images),
    options,
    file,
    contents,
    plan,
    old: options.from,
    maximumEntries: limitValues(diskLimits, options.limits)["disk-entries"],
  });
  return { plan, contents, read };
}
