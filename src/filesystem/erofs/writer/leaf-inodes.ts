import { fileType, type LayerTree, noContent } from "../../../layers/layer-tree.ts";
import { linkTarget } from "../../names.ts";
import { blockBytes, chunkFormat, dataLayout, direntType, inode as inodeFormat } from "../constants.ts";
import { encodeInode, type InodeFields } from "./inode-encoder.ts";
import { inlineRoom, nidAt } from "./metadata-allocator.ts";
import type { MetadataArea } from "./metadata-area.ts";
import { xattrArea } from "./xattr-area.ts";

/** Where the contents of regular files lie, in blocks of the image that is written. */
export interface ContentPlaces {
  sizeBytes(content: number): number;
  firstBlock(content: number): number;
  /** For a content with holes: first block of each 1 MiB chunk, `chunkFormat.hole` for a hole. */
  chunkBlocks(content: number): Uint32Array | undefined;
}

/** log2 of the blocks in a chunk of a sparse file: 1 MiB. */
export const sparseChunkBits = 8;

/**
 * Writes every inode of `tree` that is not a directory, in the order of their numbers; gives their NIDs, that of inode `i` at
 * `i - tree.directoryCount`. Payloads of regular files are numbers for `places`.
 */
export async function writeLeafInodes(
  area: MetadataArea,
  tree: LayerTree,
  places: ContentPlaces,
): Promise<Uint32Array> {
  const nids = new Uint32Array(tree.inodeCount - tree.directoryCount);
  const buffer = new Uint8Array(blockBytes);
  for (let inode = tree.directoryCount; inode < tree.inodeCount; inode++) {
    const { mode, uid, gid, xattrs: list } = tree.attributes[tree.attribute[inode]];
    const common = {
      mode,
      uid,
      gid,
      mtimeSeconds: tree.mtimeSeconds[inode],
      mtimeNanoseconds: tree.mtimeNanoseconds[inode],
      linkCount: tree.linkCount[inode],
    };
    const xattrs = xattrArea(list);
    const form = leafForm(tree, inode, mode, xattrs.length, places);
    let linkBlock = 0;
    if (form.outside.length > 0) {
      const position = area.allocator.blocks(1);
      linkBlock = area.firstBlock + position / blockBytes;
      await area.writer.write(form.outside, position);
    }
    const bytes = inodeFormat.bytes + xattrs.length + form.behind.length;
    const together = form.layout === dataLayout.flatInline ? bytes : inodeFormat.bytes;
    const position = area.allocator.next(bytes, together);
    const fields: InodeFields = { ...common, ...form, union: form.union || linkBlock, nid: nidAt(position) };
    const target = bytes <= buffer.length ? buffer : new Uint8Array(bytes);
    target.set(form.behind, encodeInode(target, fields, xattrs));
    const wait = area.writer.write(target.subarray(0, bytes), position);
    if (wait !== undefined) await wait;
    nids[inode - tree.directoryCount] = fields.nid;
    area.inodeCount++;
    if (form.layout === dataLayout.chunkBased) area.hasChunks = true;
  }
  return nids;
}

type LeafForm = {
  readonly layout: InodeFields["layout"];
  readonly sizeBytes: number;
  readonly union: number;
  /** What follows the inode and its xattrs: a link's target or a chunk map. */
  readonly behind: Uint8Array;
  /** A link's target that does not fit behind the inode. */
  readonly outside: Uint8Array;
};

const nothing = new Uint8Array(0);
const emptyForm: LeafForm = {
  layout: dataLayout.flatPlain,
  sizeBytes: 0,
  union: 0,
  behind: nothing,
  outside: nothing,
};

function leafForm(tree: LayerTree, inode: number, mode: number, xattrBytes: number, places: ContentPlaces): LeafForm {
  const payload = tree.payload[inode];
  switch (mode & fileType.mask) {
    case fileType.regular: {
      if (payload === noContent) return emptyForm;
      const sizeBytes = places.sizeBytes(payload);
      const chunks = places.chunkBlocks(payload);
      if (chunks === undefined) return flatForm(sizeBytes, places.firstBlock(payload));
      return chunkedForm(sizeBytes, sparseChunkBits, chunks);
    }
    case fileType.symbolicLink: {
      const target = linkTarget(tree, inode);
      return target.length <= inlineRoom(xattrBytes)
        ? { ...emptyForm, layout: dataLayout.flatInline, sizeBytes: target.length, behind: target }
        : { ...emptyForm, sizeBytes: target.length, outside: target };
    }
    case fileType.characterDevice:
    case fileType.blockDevice:
      return { ...emptyForm, union: payload };
    default:
      return emptyForm;
  }
}

/** A contiguous file from `firstBlock` on. */
export function flatForm(sizeBytes: number, firstBlock: number): LeafForm {
  return { ...emptyForm, sizeBytes, union: firstBlock };
}

/** A file in chunks of 2^`chunkBits` blocks at `blocks`. */
export function chunkedForm(sizeBytes: number, chunkBits: number, blocks: Uint32Array): LeafForm {
  return {
    layout: dataLayout.chunkBased,
    sizeBytes,
    union: chunkBits & chunkFormat.bitsMask,
    behind: new Uint8Array(blocks.buffer, blocks.byteOffset, blocks.byteLength),
    outside: nothing,
  };
}

/** Dirent type of an inode with this mode (Linux `include/linux/fs_types.h`). */
export function direntTypeOf(mode: number): number {
  switch (mode & fileType.mask) {
    case fileType.directory:
      return direntType.directory;
    case fileType.symbolicLink:
      return direntType.symbolicLink;
    case fileType.characterDevice:
      return direntType.characterDevice;
    case fileType.blockDevice:
      return direntType.blockDevice;
    case fileType.fifo:
      return direntType.fifo;
    default:
      return direntType.regular;
  }
}
