import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ImageSet } from "../suite/image-set.ts";
import { layerImageBlocks } from "./disk-trees.ts";
import type { MkfsSizes } from "./mkfs-erofs.ts";
import { type DiskReport, measureBuild } from "./nodewarm.ts";
import type { Bench } from "./speed-row.ts";
import { allowedContents, allowedLayerImages, allowedMetadata, type Mark, mark, type TreeCounts } from "./targets.ts";

/** What a set takes on a disk, beside other ways to store it. Bytes. */
export type SizeRow = {
  readonly name: string;
  readonly trees: TreeCounts;
  readonly disk: DiskReport;
  readonly compressedBytes: number;
  readonly tarBytes: number;
  readonly mkfs: MkfsSizes | undefined;
  /** What `--erofs-cache` added, and the blocks of contents that the layer images map. */
  readonly layerImages: { readonly addedBytes: number; readonly blocks: number } | undefined;
  readonly contents: Mark;
  readonly metadata: Mark;
  readonly erofsCache: Mark | undefined;
};

export function sizeRow(
  set: ImageSet,
  disk: DiskReport,
  trees: TreeCounts,
  mkfs: MkfsSizes | undefined,
  layerImages: SizeRow["layerImages"],
): SizeRow {
  return {
    name: set.name,
    trees,
    disk,
    compressedBytes: set.compressedBytes,
    tarBytes: set.tarBytes,
    mkfs,
    layerImages,
    contents: mark("contents", disk.bytes.contents, allowedContents(set.distinctContentBytes)),
    metadata: mark("metadata", disk.bytes.metadata, allowedMetadata(trees)),
    erofsCache:
      layerImages && mark("layer images", layerImages.addedBytes, allowedLayerImages(trees.layers, layerImages.blocks)),
  };
}

/** Builds the set once more with `--erofs-cache`; what that adds to `plain`. */
export async function measureLayerImages(
  bench: Bench,
  set: ImageSet,
  plain: DiskReport,
): Promise<NonNullable<SizeRow["layerImages"]>> {
  const output = join(bench.work, "erofs-cache.erofs");
  try {
    const references = set.images.map((image) => `${bench.host}/${image.name}`);
    const { disk } = await measureBuild(references, { output, host: bench.host, more: ["--erofs-cache"] });
    // Not the difference of the sizes: those are whole MiB.
    const stored = ({ bytes }: DiskReport) => bytes.contents + bytes.blobs + bytes.layerImages + bytes.metadata;
    return { addedBytes: stored(disk) - stored(plain), blocks: await layerImageBlocks(output) };
  } finally {
    await rm(output, { force: true });
  }
}
