import { blockBytes, featureIncompat } from "../../filesystem/erofs/constants.ts";
import { isDirectory, isRegular } from "../../filesystem/erofs/reader/inode-parser.ts";
import { directoryEntries } from "../../filesystem/erofs/reader/lookup.ts";
import type { Digest } from "../../oci/descriptor.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind } from "../files-format.ts";
import type { DiskReader } from "./disk-reader.ts";

/** What one layer's tree holds. */
export type LayerSummary = {
  readonly diffID: Digest;
  /** Bytes of its compressed blob. */
  readonly compressedBytes: number;
  /** Images that have it, as positions in the index. */
  readonly images: readonly number[];
  /** Names in the tree and its root. */
  readonly entries: number;
  /** Regular files, each once however many names it has. */
  readonly files: number;
  /** Their bytes. */
  readonly fileBytes: number;
};

export type DiskSummary = {
  readonly minimumKernel: string;
  readonly sizeBytes: number;
  /** Of the image, by what lies there, in bytes; together they are `sizeBytes`. */
  readonly bytes: {
    readonly contents: number;
    readonly metadata: number;
    readonly blobs: number;
    /** Superblocks and metadata of layer images; their data is that of `contents`. */
    readonly layerImages: number;
    /** Superblock, index, table of digests and the zeros at the end. */
    readonly other: number;
  };
  /** File bytes of all layers that did not have to be stored again. */
  readonly deduplicatedBytes: number;
  readonly contents: number;
  /** Distinct layers in the order of their first use. */
  readonly layers: readonly LayerSummary[];
};

/** Walks the layer trees to tell what a disk holds. Throws `ErofsError`, or `DiskError` `corrupt`. */
export async function summarizeDisk(disk: DiskReader, signal?: AbortSignal): Promise<DiskSummary> {
  const layers = await summarizeLayers(disk, signal);
  const contents = blockBytesOfContents(disk);
  const metadata = areaBytes(disk, areaKind.metadata);
  const blobs = areaBytes(disk, areaKind.blobs);
  const layerImages = areaBytes(disk, areaKind.layerMetadata);
  const { sizeBytes } = disk.image;
  const other = sizeBytes - contents - metadata - blobs - layerImages;
  const fileBytes = layers.reduce((sum, layer) => sum + layer.fileBytes, 0);
  return {
    minimumKernel: (disk.image.superblock.featureIncompat & featureIncompat.chunkedFile) === 0 ? "5.4" : "5.15",
    sizeBytes,
    bytes: { contents, metadata, blobs, layerImages, other },
    deduplicatedBytes: Math.max(0, fileBytes - contentSizes(disk)),
    contents: disk.files.contentCount,
    layers,
  };
}

function contentSizes({ files }: DiskReader): number {
  let bytes = 0;
  for (let content = 0; content < files.contentCount; content++) bytes += files.sizeBytes(content);
  return bytes;
}

function blockBytesOfContents({ files }: DiskReader): number {
  let blocks = 0;
  for (let content = 0; content < files.contentCount; content++) blocks += files.blockCount(content);
  return blocks * blockBytes;
}

function areaBytes({ files }: DiskReader, kind: number): number {
  let blocks = 0;
  for (let i = 0; i < files.areaCount; i++) {
    const area = files.area(i);
    if (area.kind === kind) blocks += area.blockCount;
  }
  return blocks * blockBytes;
}

async function summarizeLayers(disk: DiskReader, signal: AbortSignal | undefined): Promise<LayerSummary[]> {
  const byDiffID = new Map<Digest, { tree: string; compressedBytes: number; images: Set<number> }>();
  for (const [i, image] of disk.index.images.entries()) {
    for (const { diffID, tree, size } of image.layers) {
      const known = byDiffID.get(diffID) ?? { tree, compressedBytes: size, images: new Set() };
      known.images.add(i);
      byDiffID.set(diffID, known);
    }
  }
  const layers: LayerSummary[] = [];
  for (const [diffID, { tree, compressedBytes, images }] of byDiffID) {
    layers.push({ diffID, compressedBytes, images: [...images], ...(await summarizeTree(disk, tree, signal)) });
  }
  return layers;
}

async function summarizeTree(
  disk: DiskReader,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Pick<LayerSummary, "entries" | "files" | "fileBytes">> {
  const counts = { entries: 1, files: 0, fileBytes: 0 };
  const linked = new Set<number>();
  const directories = new Set<number>();
  const { image } = disk;
  const stack = [await disk.lookup(path)];
  for (let directory = stack.pop(); directory !== undefined; directory = stack.pop()) {
    signal?.throwIfAborted();
    if (directories.has(directory.nid)) {
      throw new DiskError("corrupt", `${disk.source.name}: ${path} has a directory with two places in it`);
    }
    directories.add(directory.nid);
    for await (const { nid } of directoryEntries(image, directory)) {
      counts.entries++;
      const inode = await image.inode(nid);
      if (isDirectory(inode)) stack.push(inode);
      if (!isRegular(inode) || linked.has(nid)) continue;
      if (inode.linkCount > 1) linked.add(nid);
      counts.files++;
      counts.fileBytes += inode.sizeBytes;
    }
  }
  return counts;
}
