import type { Xattr } from "../../../layers/layer-tree.ts";
import type { ByteSource } from "../../byte-source.ts";
import { blockBytes, chunkFormat, dataLayout, inode as inodeFormat, slotBytes } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";
import { type DirectoryEntry, parseDirectoryBlock } from "./directory-block.ts";
import { compactInodeBytes, type Inode, isDirectory, isExtended, isSymbolicLink, parseInode } from "./inode-parser.ts";
import { SegmentCache } from "./segment-cache.ts";
import { parseSuperblock, type Superblock } from "./superblock-parser.ts";
import { parseXattrArea, type XattrArea } from "./xattr-area.ts";

/** Where a piece of a file's data lies. */
export type Extent = {
  /** In the image, in bytes; undefined for a hole. */
  readonly position: number | undefined;
  readonly length: number;
};

export type DirectoryBlock = {
  readonly bytes: Buffer;
  readonly entries: readonly DirectoryEntry[];
  readonly isLast: boolean;
};

export type ReaderOptions = {
  /** Memory for metadata that was read. Default: 64 MiB. */
  readonly cacheBytes?: number;
  /** How much metadata is read at once, a power of two of at least 4096. Default: 64 KiB, which may reach into data beside it. */
  readonly segmentBytes?: number;
};

const defaultCacheBytes = 64 << 20;
const maxLinkTargetBytes = 4095;
const noXattrs: readonly Xattr[] = [];

/**
 * Reads an uncompressed EROFS image: inodes of both forms, flat and chunk-based data with 4-byte maps, inline and shared
 * xattrs. Nothing it meets in the image makes it read outside of the image, use unbounded memory or run forever; all
 * methods throw `ErofsError`.
 */
export class ErofsImage {
  readonly source: ByteSource;
  readonly superblock: Superblock;
  readonly #cache: SegmentCache;

  private constructor(source: ByteSource, superblock: Superblock, { cacheBytes, segmentBytes }: ReaderOptions) {
    this.source = source;
    this.superblock = superblock;
    const endBytes = superblock.blockCount * blockBytes;
    this.#cache = new SegmentCache(source, endBytes, cacheBytes ?? defaultCacheBytes, segmentBytes);
  }

  /** The source stays the caller's to close. */
  static async open(source: ByteSource, options: ReaderOptions = {}): Promise<ErofsImage> {
    if (source.sizeBytes < blockBytes) {
      throw new ErofsError("not-erofs", `${source.name} is not an EROFS image: it has only ${source.sizeBytes} bytes`);
    }
    const block = Buffer.alloc(blockBytes);
    await source.read(0, block);
    const superblock = parseSuperblock(block, source.sizeBytes, source.name);
    return new ErofsImage(source, superblock, options);
  }

  /** The end of the image; a source may go on behind it. */
  get sizeBytes(): number {
    return this.superblock.blockCount * blockBytes;
  }

  root(): Promise<Inode> {
    return this.inode(this.superblock.rootNid);
  }

  async inode(nid: number): Promise<Inode> {
    const known = this.cachedInode(nid);
    if (known !== undefined) return known;
    const position = this.#inodePosition(nid);
    return parseInode(await this.#inodeBytes(nid, position), nid, position, this.superblock.buildTime);
  }

  /** The same without waiting, when the bytes are at hand: a walk over many inodes is faster by a third. */
  cachedInode(nid: number): Inode | undefined {
    const position = this.#inodePosition(nid);
    const bytes = this.#cache.peek(position, inodeFormat.bytes);
    return bytes === undefined ? undefined : parseInode(bytes, nid, position, this.superblock.buildTime);
  }

  #inodePosition(nid: number): number {
    return this.superblock.metadataBlock * blockBytes + nid * slotBytes;
  }

  /** A compact inode may be the last thing in the image. */
  async #inodeBytes(nid: number, position: number): Promise<Buffer> {
    const what = `${this.source.name}: inode ${nid}`;
    const compact = await this.#cache.view(position, compactInodeBytes, what);
    if (!isExtended(compact.readUInt16LE(inodeFormat.format))) return compact;
    return this.#cache.view(position, inodeFormat.bytes, what);
  }

  async xattrs(inode: Inode): Promise<readonly Xattr[]> {
    return (await this.xattrArea(inode))?.xattrs ?? noXattrs;
  }

  /** The xattrs with all that is stored about them; undefined without xattrs. */
  async xattrArea(inode: Inode): Promise<XattrArea | undefined> {
    if (inode.xattrBytes === 0) return undefined;
    const what = `${this.source.name}: inode ${inode.nid}`;
    const area = await this.view(inode.position + inode.headerBytes, inode.xattrBytes, `${what}: xattrs`);
    return parseXattrArea(area, what, this.superblock.xattrBlock, (position, length) =>
      this.view(position, length, `${what}: shared xattr`),
    );
  }

  /** The blocks of a directory in order, `.` and `..` among their entries. */
  async *directoryBlocks(inode: Inode): AsyncGenerator<DirectoryBlock> {
    const what = `${this.source.name}: directory inode ${inode.nid}`;
    if (!isDirectory(inode)) throw new ErofsError("not-a-directory", `${what} is not a directory`);
    if (inode.sizeBytes > this.sizeBytes) throw new ErofsError("corrupt", `${what} is larger than the image`);
    for (let offset = 0; offset < inode.sizeBytes; offset += blockBytes) {
      const length = Math.min(blockBytes, inode.sizeBytes - offset);
      const extent = await this.extent(inode, offset);
      if (extent.position === undefined || extent.length < length)
        throw new ErofsError("corrupt", `${what} has a hole`);
      const bytes = await this.view(extent.position, length, what);
      const entries = parseDirectoryBlock(bytes, `${what}, block ${offset / blockBytes}`);
      yield { bytes, entries, isLast: offset + length === inode.sizeBytes };
    }
  }

  /** The target of a symbolic link. */
  async linkTarget(inode: Inode): Promise<Buffer> {
    const what = `${this.source.name}: inode ${inode.nid}`;
    if (!isSymbolicLink(inode)) throw new ErofsError("not-a-file", `${what} is not a symbolic link`);
    if (inode.sizeBytes === 0 || inode.sizeBytes > maxLinkTargetBytes) {
      throw new ErofsError("corrupt", `${what} has a link target of ${inode.sizeBytes} bytes`);
    }
    const extent = await this.extent(inode, 0);
    if (extent.position === undefined || extent.length < inode.sizeBytes) {
      throw new ErofsError("corrupt", `${what} has a link target that is not in one piece`);
    }
    return this.view(extent.position, inode.sizeBytes, `${what}: link target`);
  }

  /**
   * Where the data at `offset` lies and for how many bytes it goes on there, at most to the end of the file.
   * `offset` must be less than the size. The range is inside the image.
   */
  async extent(inode: Inode, offset: number): Promise<Extent> {
    const what = `${this.source.name}: data of inode ${inode.nid}`;
    if (inode.layout === dataLayout.chunkBased) return this.#chunkExtent(inode, offset, what);
    const lastBlock = Math.ceil(inode.sizeBytes / blockBytes) - 1;
    const inlineFrom = inode.layout === dataLayout.flatInline ? lastBlock * blockBytes : inode.sizeBytes;
    if (offset >= inlineFrom) {
      const start = inode.position + inode.headerBytes + inode.xattrBytes;
      const inBlock = start % blockBytes;
      if (inBlock === 0 || inBlock + inode.sizeBytes - inlineFrom > blockBytes) {
        throw new ErofsError("corrupt", `${what}: the inline part crosses a block`);
      }
      return this.#inside({ position: start + offset - inlineFrom, length: inode.sizeBytes - offset }, what);
    }
    return this.#inside({ position: inode.union * blockBytes + offset, length: inlineFrom - offset }, what);
  }

  async #chunkExtent(inode: Inode, offset: number, what: string): Promise<Extent> {
    if ((inode.union & ~chunkFormat.bitsMask) !== 0) {
      throw new ErofsError("unsupported", `${what}: chunk format 0x${inode.union.toString(16)} is not supported`);
    }
    const chunkBytes = blockBytes * 2 ** (inode.union & chunkFormat.bitsMask);
    const chunk = Math.floor(offset / chunkBytes);
    const address = (await this.chunkMap(inode, chunk, 1)).readUInt32LE(0);
    const inChunk = offset - chunk * chunkBytes;
    const length = Math.min(chunkBytes - inChunk, inode.sizeBytes - offset);
    if (address === chunkFormat.hole) return { position: undefined, length };
    return this.#inside({ position: address * blockBytes + inChunk, length }, what);
  }

  /** The block addresses of `count` chunks, 4 bytes each, from chunk `first` on. */
  chunkMap(inode: Inode, first: number, count: number): Promise<Buffer> {
    const start = inode.position + inode.headerBytes + inode.xattrBytes;
    return this.view(start + first * 4, count * 4, `${this.source.name}: chunk map of inode ${inode.nid}`);
  }

  /** Bytes of the image by position, from the cache where it has them. Meant for metadata. */
  async view(position: number, length: number, what: string): Promise<Buffer> {
    return this.#cache.peek(position, length) ?? this.#cache.view(position, length, what);
  }

  #inside(extent: Extent, what: string): Extent {
    if (extent.position !== undefined && extent.position + extent.length > this.sizeBytes) {
      throw new ErofsError("corrupt", `${what} lies outside of the image`);
    }
    return extent;
  }
}
