import { createHash } from "node:crypto";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { foldTree } from "../../../layers/folded-tree.ts";
import { LayerError } from "../../../layers/layer-error.ts";
import type { LayerTree } from "../../../layers/layer-tree.ts";
import { fileType, noContent } from "../../../layers/layer-tree.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import { OciError } from "../../../oci/oci-error.ts";
import { recyclePiece } from "../../../oci/piece-buffers.ts";
import { DiskError } from "../../disk-error.ts";
import type { BlobPlan } from "../blob-plan.ts";
import type { ContentStore } from "../contents/content-store.ts";
import type { BuildOptions } from "../contract.ts";
import { returnFreedMemory } from "../freed-memory.ts";
import type { OldDisk } from "../old-disk/old-disk.ts";
import type { PartialFile } from "../partial-file.ts";
import { type DistinctLayer, imageLabel, type LayerBlob } from "./distinct-layers.ts";
import type { LayerReader, RunningLayer } from "./layer-reader.ts";
import { OwnThread } from "./own-thread.ts";

/** Compressed bytes of all layers up to which no threads are started: one takes as long to start as these to be read. */
const ownThreadBytes = 32 << 20;

/** Layers read at once by one thread, if more than one may: it waits for the registry most of the time. */
const ownThreadLayers = 4;

export type ReadLayers = {
  /** Payloads of regular files are numbers of the content store. */
  readonly trees: ReadonlyMap<Digest, LayerTree>;
  readonly entries: number;
  /** Bytes of all regular files of all trees. */
  readonly fileBytes: number;
  readonly fetchedBytes: number;
  readonly reusedBytes: number;
  readonly dropped: readonly { readonly what: string; readonly why: string; readonly count: number }[];
};

type Totals = { entries: number; fileBytes: number; fetchedBytes: number; reusedBytes: number };

export type LayerReading = {
  readonly layers: readonly DistinctLayer[];
  readonly options: BuildOptions;
  readonly file: PartialFile;
  readonly contents: ContentStore;
  readonly plan: BlobPlan;
  readonly old: OldDisk | undefined;
  readonly maximumEntries: number;
};

/**
 * Reads every layer, several at once, and stores their contents in the order of `layers`. With blobs on the disk the compressed bytes
 * go there as they pass.
 */
export async function readLayers(reading: LayerReading): Promise<ReadLayers> {
  const { layers, options, old } = reading;
  const fresh = layers.filter((layer) => old?.has(layer) !== true);
  const freshBytes = fresh.reduce((sum, layer) => sum + layer.blobs[0].descriptor.size, 0);
  const reader = await openReader(freshBytes, options.jobs);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const totals: Totals = { entries: 0, fileBytes: 0, fetchedBytes: 0, reusedBytes: 0 };
  // Nobody reads a tree before all are there.
  const folded = new Map<Digest, () => LayerTree>();
  const dropped = new Map<string, { what: string; why: string; count: number }>();
  try {
    // Begun in order, so that the layer whose turn it is always has a thread.
    const running = new Map(fresh.map((layer) => [layer.diffID, startLayer(reading, reader, layer, signal, totals)]));
    // A layer that fails ends the build at once, not when its turn comes.
    for (const layer of fresh)
      void running
        .get(layer.diffID)
        ?.then(({ ended }) => ended)
        .catch((error: unknown) => stop.abort(inLayer(error, layer)));
    for (const layer of layers) {
      const started = running.get(layer.diffID);
      const result =
        started === undefined
          ? await takeOldLayer(reading, layer, signal, totals)
          : await takeLayer(reading, layer, await started, signal);
      totals.entries += result.tree.entryCount;
      totals.fileBytes += fileBytes(result.tree, reading.contents);
      if (totals.entries > reading.maximumEntries)
        throw new DiskError(
          "limit",
          `the layers have more than ${reading.maximumEntries} entries in all: build several disks, or raise --limit disk-entries=VALUE`,
        );
      folded.set(layer.diffID, foldTree(result.tree));
      for (const drop of result.dropped) {
        const sum = dropped.get(`${drop.what}\n${drop.why}`) ?? { what: drop.what, why: drop.why, count: 0 };
        sum.count += drop.count;
        dropped.set(`${drop.what}\n${drop.why}`, sum);
      }
      running.delete(layer.diffID);
      returnFreedMemory();
      options.onEvent?.({ type: "layer-end", diffID: layer.diffID });
    }
    for (const layer of layers) await fetchOtherBlobs(reading, layer, signal, totals);
  } finally {
    stop.abort();
    await reader.close();
    returnFreedMemory(true);
  }
  reading.contents.finish();
  const trees = new Map([...folded].map(([diffID, unfold]) => [diffID, unfold()]));
  return { trees, ...totals, dropped: [...dropped.values()].sort((a, b) => (a.what < b.what ? -1 : 1)) };
}

/** Loads what starts threads only where some are worth it. */
async function openReader(freshBytes: number, jobs: number): Promise<LayerReader> {
  if (freshBytes <= ownThreadBytes) return new OwnThread(jobs === 1 ? 1 : Math.max(jobs, ownThreadLayers));
  const { LayerPool } = await import("./layer-pool.ts");
  return new LayerPool(jobs);
}

type TakenLayer = {
  readonly tree: LayerTree;
  readonly dropped: readonly { readonly what: string; readonly why: string; readonly count: number }[];
};

function startLayer(
  reading: LayerReading,
  reader: LayerReader,
  layer: DistinctLayer,
  signal: AbortSignal,
  totals: Totals,
): Promise<RunningLayer> {
  const { options, plan, file } = reading;
  const blob = layer.blobs[0];
  const { descriptor, image } = blob;
  const onEvent = options.onEvent;
  let hasBegun = false;
  let before = 0;
  const input = storing(blob.image.openLayer(blob.index, { signal }), options.blobs ? plan : undefined, file, blob);
  const { diffID, isBase } = layer;
  return reader.start({ descriptor, diffID, isBase, limits: options.limits }, input, signal, (bytes) => {
    if (!hasBegun) {
      hasBegun = true;
      onEvent?.({
        type: "layer-start",
        diffID: layer.diffID,
        image: imageLabel(image),
        sizeBytes: descriptor.size,
        reused: false,
      });
    }
    totals.fetchedBytes += bytes - before;
    before = bytes;
    onEvent?.({ type: "layer-progress", diffID: layer.diffID, bytes });
  });
}

async function takeLayer(
  { contents }: LayerReading,
  layer: DistinctLayer,
  running: RunningLayer,
  signal: AbortSignal,
): Promise<TakenLayer> {
  contents.beginLayer();
  try {
    for (let batch = await running.nextBatch(); batch !== undefined; batch = await running.nextBatch()) {
      signal.throwIfAborted();
      await contents.take(batch);
      running.taken(batch);
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : inLayer(error, layer);
  }
  const { tree, deadContents, dropped } = running.result();
  numberContents(tree, await contents.endLayer(deadContents));
  return { tree, dropped };
}

async function takeOldLayer(
  { contents, file, options, old }: LayerReading,
  layer: DistinctLayer,
  signal: AbortSignal,
  totals: Totals,
): Promise<TakenLayer> {
  if (old === undefined) throw new Error("there is no older disk");
  const { descriptor, image } = layer.blobs[0];
  options.onEvent?.({
    type: "layer-start",
    diffID: layer.diffID,
    image: imageLabel(image),
    sizeBytes: descriptor.size,
    reused: true,
  });
  contents.beginLayer();
  const tree = await old.readLayer(layer.diffID, contents, file, signal);
  numberContents(tree, await contents.endLayer(new Uint32Array(0)));
  totals.reusedBytes += descriptor.size;
  options.onEvent?.({ type: "layer-progress", diffID: layer.diffID, bytes: descriptor.size });
  return { tree, dropped: [] };
}

/** Turns the layer's own numbers of contents into those of the store. */
function numberContents(tree: LayerTree, numbers: Uint32Array): void {
  for (let inode = tree.directoryCount; inode < tree.inodeCount; inode++)
    if (isFileWithContent(tree, inode)) tree.payload[inode] = numbers[tree.payload[inode]];
}

function isFileWithContent(tree: LayerTree, inode: number): boolean {
  const { mode } = tree.attributes[tree.attribute[inode]];
  return (mode & fileType.mask) === fileType.regular && tree.payload[inode] !== noContent;
}

function fileBytes(tree: LayerTree, contents: ContentStore): number {
  let sum = 0;
  for (let inode = tree.directoryCount; inode < tree.inodeCount; inode++)
    if (isFileWithContent(tree, inode)) sum += contents.sizeBytes(tree.payload[inode]);
  return sum;
}

/** Names image and layer in what went wrong. */
function inLayer(error: unknown, { diffID, blobs }: DistinctLayer): unknown {
  const { descriptor, image } = blobs[0];
  const where = `image ${imageLabel(image)}, layer ${descriptor.digest} (diffID ${diffID})`;
  if (error instanceof LayerError) return new LayerError(error.code, `${where}: ${error.message}`, { cause: error });
  if (error instanceof OciError) return new OciError(error.code, `${where}: ${error.message}`, { cause: error });
  return error;
}

/** Passes a layer's compressed bytes on; with a plan they are stored on the disk as well, but never beyond their place. */
async function* storing(
  input: AsyncIterable<Uint8Array>,
  plan: BlobPlan | undefined,
  file: PartialFile,
  { descriptor }: LayerBlob,
): AsyncIterable<Uint8Array> {
  const place = plan?.blobs.get(descriptor.digest);
  if (place === undefined) {
    yield* input;
    return;
  }
  let position = 0;
  for await (const bytes of input) {
    if (position + bytes.length <= place.sizeBytes) await file.write(bytes, place.firstBlock * blockBytes + position);
    position += bytes.length;
    yield bytes;
  }
}

/** Stores the compressed forms that were not read: of layers of the older disk, and second forms of one layer. */
async function fetchOtherBlobs(
  { options, plan, file, old }: LayerReading,
  layer: DistinctLayer,
  signal: AbortSignal,
  totals: Totals,
): Promise<void> {
  if (!options.blobs) return;
  const isOld = old?.has(layer) === true;
  for (const blob of layer.blobs.slice(isOld ? 0 : 1)) {
    const place = plan.blobs.get(blob.descriptor.digest);
    if (place === undefined) continue;
    if ((await old?.copyBlob(blob.descriptor, file, place.firstBlock * blockBytes, signal)) === true) continue;
    const hash = createHash("sha256");
    let sizeBytes = 0;
    for await (const bytes of storing(blob.image.openLayer(blob.index, { signal }), plan, file, blob)) {
      hash.update(bytes);
      sizeBytes += bytes.length;
      recyclePiece(bytes);
    }
    totals.fetchedBytes += sizeBytes;
    const digest = `sha256:${hash.digest("hex")}`;
    if (digest !== blob.descriptor.digest || sizeBytes !== blob.descriptor.size)
      throw inLayer(
        new LayerError(
          "digest-mismatch",
          `the blob has digest ${digest} and ${sizeBytes} bytes, the manifest says ${blob.descriptor.size} bytes; the source is damaged or lies`,
        ),
        layer,
      );
  }
}
