import { blockBytes, chunkFormat, dataLayout } from "../../filesystem/erofs/constants.ts";
import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import type { FilesTable } from "./files-table.ts";

const blocksPerChunk = chunkBytes / blockBytes;
const mapPieceChunks = 16 * 1024;

/**
 * The number of the content that a regular file with bytes has. Throws `DiskError` `corrupt` when its blocks are not
 * exactly those of one content.
 */
export async function contentOfInode(image: ErofsImage, inode: Inode, files: FilesTable): Promise<number> {
  const isChunked = inode.layout === dataLayout.chunkBased;
  if (!isChunked && inode.layout !== dataLayout.flatPlain) throw mismatch(image, inode, "it is inline");
  const firstBlock = isChunked ? await firstStoredBlock(image, inode) : inode.union;
  const content =
    firstBlock === undefined ? files.findHole(inode.sizeBytes) : files.findContent(firstBlock, inode.sizeBytes);
  if (content === -1) throw mismatch(image, inode, "no content has its place and size");
  const difference = await dataDifference(image, inode, files, content, files.firstBlock(content));
  if (difference !== undefined) throw mismatch(image, inode, difference);
  return content;
}

/** The same for a file whose data lie in one piece, as most do: without waiting. Undefined where `contentOfInode` must look. */
export function contentOfPlainInode(inode: Inode, files: FilesTable): number | undefined {
  if (inode.layout !== dataLayout.flatPlain) return undefined;
  const content = files.findContent(inode.union, inode.sizeBytes);
  if (content === -1) return undefined;
  const hasHoles = files.isLarge(content) && files.storedChunkCount(content) !== files.chunkCount(content);
  return hasHoles ? undefined : content;
}

/**
 * In what the places of a file's data differ from those of `content`, were that at `firstBlock` of the image; undefined when
 * in nothing.
 */
export async function dataDifference(
  image: ErofsImage,
  inode: Inode,
  files: FilesTable,
  content: number,
  firstBlock: number,
): Promise<string | undefined> {
  if (inode.sizeBytes !== files.sizeBytes(content)) return "it has another size";
  if (inode.layout === dataLayout.chunkBased) return mapDifference(image, inode, files, content, firstBlock);
  if (inode.layout !== dataLayout.flatPlain) return "it is inline";
  if (files.isLarge(content) && files.storedChunkCount(content) !== files.chunkCount(content)) {
    return "its content has holes";
  }
  return inode.union === firstBlock ? undefined : `it begins at block ${inode.union}, not ${firstBlock}`;
}

async function* mapPieces(image: ErofsImage, inode: Inode): AsyncGenerator<{ first: number; addresses: Buffer }> {
  const count = Math.ceil(inode.sizeBytes / chunkBytes);
  for (let first = 0; first < count; first += mapPieceChunks) {
    yield { first, addresses: await image.chunkMap(inode, first, Math.min(mapPieceChunks, count - first)) };
  }
}

async function firstStoredBlock(image: ErofsImage, inode: Inode): Promise<number | undefined> {
  if (inode.union !== Math.log2(blocksPerChunk)) throw mismatch(image, inode, "its chunks are not of 1 MiB");
  for await (const { addresses } of mapPieces(image, inode)) {
    for (let at = 0; at < addresses.length; at += 4) {
      const address = addresses.readUInt32LE(at);
      if (address !== chunkFormat.hole) return address;
    }
  }
  return undefined;
}

async function mapDifference(
  image: ErofsImage,
  inode: Inode,
  files: FilesTable,
  content: number,
  firstBlock: number,
): Promise<string | undefined> {
  const firstChunk = files.isLarge(content) ? files.firstChunk(content) : undefined;
  let next = firstBlock;
  for await (const { first, addresses } of mapPieces(image, inode)) {
    for (let i = 0; i < addresses.length / 4; i++) {
      const isHole = firstChunk !== undefined && files.isHole(firstChunk + first + i);
      if (addresses.readUInt32LE(i * 4) !== (isHole ? chunkFormat.hole : next)) {
        return `chunk ${first + i} is not that of its content`;
      }
      if (!isHole) next += blocksPerChunk;
    }
  }
  return undefined;
}

function mismatch(image: ErofsImage, inode: Inode, why: string): DiskError {
  return new DiskError(
    "corrupt",
    `${image.source.name}: the data of inode ${inode.nid} (${inode.sizeBytes} bytes) is no content of /nodewarm.files: ${why}`,
  );
}
