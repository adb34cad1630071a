import { blockBytes, featureIncompat, maximumBlocks, superblock } from "../../filesystem/erofs/constants.ts";
import { createMetadataArea, type MetadataArea } from "../../filesystem/erofs/writer/metadata-area.ts";
import { placeSkeleton, type SkeletonFile } from "../../filesystem/erofs/writer/skeleton.ts";
import { encodeSuperblock } from "../../filesystem/erofs/writer/superblock.ts";
import { digestHex } from "../../oci/descriptor.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind } from "../files-format.ts";
import type { BlobPlan } from "./blob-plan.ts";
import { buildIndex, encodeIndex, type PlacedImage } from "./build-index.ts";
import { Chains } from "./chain.ts";
import type { ContentStore } from "./contents/content-store.ts";
import type { BuildOptions, BuildReport } from "./contract.ts";
import { type Area, digestArea, filesTableBytes, writeFilesTable } from "./files-table.ts";
import { writeLayerImage } from "./layer-images.ts";
import { imageLabel } from "./layers/distinct-layers.ts";
import type { ReadLayers } from "./layers/read-layers.ts";
import type { PartialFile } from "./partial-file.ts";
import { type LatePlace, skeletonRoot } from "./skeleton-root.ts";
import { writeTrees } from "./write-trees.ts";

/** An image ends at a multiple of this many blocks: 1 MiB. */
const endBlocks = 256;

/** What lies on the disk before its metadata. */
export type DiskData = { readonly plan: BlobPlan; readonly contents: ContentStore; readonly read: ReadLayers };

/** `seconds` since 1970, the same as RFC 3339. */
export type Created = { readonly seconds: number; readonly text: string; readonly sequence: number };

export type WrittenDisk = {
  readonly id: string;
  readonly report: Pick<BuildReport, "sizeBytes" | "entries" | "files" | "bytes" | "dropped">;
};

const blocksOf = (bytes: number): number => Math.ceil(bytes / blockBytes);

/** Writes everything behind the contents, then the superblock. */
export async function writeMetadata(
  file: PartialFile,
  data: DiskData,
  options: BuildOptions,
  created: Created,
): Promise<WrittenDisk> {
  const { plan, contents, read } = data;
  // What comes now is digested in the end.
  file.expectNoReads(plan.endBlock * blockBytes, contents.endBlock * blockBytes);
  const chains = new Chains(read.trees);
  const images = options.images.map((image) => placeImage(chains, image));
  const layerImages = options.erofsCache
    ? await writeLayerImages(file, data, created.seconds)
    : { files: new Map<string, SkeletonFile>(), endBlock: contents.endBlock };

  const metadataBlock = layerImages.endBlock;
  const area = createMetadataArea(file, metadataBlock, metadataBlock);
  const index: LatePlace = { sizeBytes: 0, firstBlock: 0 };
  const files: LatePlace = { sizeBytes: 0, firstBlock: 0 };
  let rootNids: ReadonlyMap<string, number> = new Map();
  const skeleton = placeSkeleton(
    area,
    skeletonRoot({
      blobs: plan.blobs,
      trees: [...chains.layers.keys(), ...chains.merged.keys()],
      rootNid: (path) => rootNids.get(path) ?? 0,
      layerImages: layerImages.files,
      index,
      files,
    }),
  );
  rootNids = await writeTrees(area, read.trees, chains, contents, (folder) => skeleton.nidOf(folder));

  const indexDocument = buildIndex(images, options, created);
  const indexBytes = encodeIndex(indexDocument);
  index.firstBlock = metadataBlock + area.allocator.blockCount;
  index.sizeBytes = indexBytes.length;
  const areas: Omit<Area, "digests">[] = [
    { kind: areaKind.superblock, firstBlock: 0, blockCount: 1 },
    { kind: areaKind.blobs, firstBlock: 1, blockCount: plan.endBlock - 1 },
    { kind: areaKind.layerMetadata, firstBlock: contents.endBlock, blockCount: metadataBlock - contents.endBlock },
    { kind: areaKind.metadata, firstBlock: metadataBlock, blockCount: area.allocator.blockCount },
    { kind: areaKind.index, firstBlock: index.firstBlock, blockCount: blocksOf(indexBytes.length) },
  ];
  const used = areas.filter(({ blockCount }) => blockCount > 0);
  files.firstBlock = index.firstBlock + blocksOf(indexBytes.length);
  files.sizeBytes = filesTableBytes(contents, used);
  const blockCount = Math.ceil((files.firstBlock + blocksOf(files.sizeBytes)) / endBlocks) * endBlocks;
  if (blockCount > maximumBlocks)
    throw new DiskError("limit", "the disk would have more than 2^32 - 2 blocks of 4 KiB: build several disks");

  await skeleton.write(created.seconds);
  await area.writer.finish(area.allocator.blockCount * blockBytes);
  await file.write(indexBytes, index.firstBlock * blockBytes);
  await file.truncate(blockCount * blockBytes);
  const superblockOf = (uuid: Uint8Array): Uint8Array =>
    encodeDiskSuperblock(area, skeleton.rootNid, metadataBlock, blockCount, created.seconds, uuid);
  const masked = superblockOf(new Uint8Array(16));
  masked.fill(0, superblock.position + superblock.checksum, superblock.position + superblock.checksum + 4);
  await file.write(masked, 0);
  const digested: Area[] = [];
  for (const { kind, firstBlock, blockCount: count } of used) {
    options.signal.throwIfAborted();
    digested.push(await digestArea(file, kind, firstBlock, count));
  }
  const idBytes = await writeFilesTable(file, files.firstBlock * blockBytes, contents, digested);
  const id = Buffer.from(idBytes).toString("hex");
  await file.write(encodeIndex({ ...indexDocument, id }), index.firstBlock * blockBytes);
  await file.write(superblockOf(idBytes.subarray(0, 16)), 0);

  const blobBytes = (plan.endBlock - 1) * blockBytes;
  const layerImageBytes = (metadataBlock - contents.endBlock) * blockBytes;
  const contentBytes = (contents.endBlock - plan.endBlock) * blockBytes;
  let distinctBytes = 0;
  for (let content = 0; content < contents.length; content++) distinctBytes += contents.sizeBytes(content);
  return {
    id,
    report: {
      sizeBytes: blockCount * blockBytes,
      entries: read.entries,
      files: contents.length,
      bytes: {
        fetched: read.fetchedBytes,
        reused: read.reusedBytes,
        deduplicated: read.fileBytes - distinctBytes,
        contents: contentBytes,
        blobs: blobBytes,
        layerImages: layerImageBytes,
        metadata: blockCount * blockBytes - contentBytes - blobBytes - layerImageBytes,
      },
      dropped: read.dropped,
    },
  };
}

function placeImage(chains: Chains, image: PlacedImage["image"]): PlacedImage {
  try {
    return { image, chain: chains.add(image) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DiskError("invalid-image", `image ${imageLabel(image)}: ${reason}`, { cause: error });
  }
}

async function writeLayerImages(
  file: PartialFile,
  { contents, read }: DiskData,
  createdSeconds: number,
): Promise<{ readonly files: ReadonlyMap<string, SkeletonFile>; readonly endBlock: number }> {
  const files = new Map<string, SkeletonFile>();
  let block = contents.endBlock;
  for (const [diffID, tree] of [...read.trees].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const image = await writeLayerImage(file, block, diffID, tree, contents, createdSeconds);
    files.set(digestHex(diffID), image.file);
    block += image.blockCount;
  }
  return { files, endBlock: block };
}

function encodeDiskSuperblock(
  area: MetadataArea,
  rootNid: number,
  metadataBlock: number,
  blockCount: number,
  buildTime: number,
  uuid: Uint8Array,
): Uint8Array {
  return encodeSuperblock({
    rootNid,
    inodeCount: area.inodeCount,
    buildTime,
    blockCount,
    metadataBlock,
    uuid,
    volumeName: "nodewarm",
    featureIncompat: area.hasChunks ? featureIncompat.chunkedFile : 0,
  });
}
