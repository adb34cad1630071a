import { hash } from "node:crypto";
import { type ByteSource, openFileSource } from "../../filesystem/byte-source.ts";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { ErofsImage, type ReaderOptions } from "../../filesystem/erofs/reader/erofs-image.ts";
import { readWholeFile } from "../../filesystem/erofs/reader/file-data.ts";
import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import { lookup } from "../../filesystem/erofs/reader/lookup.ts";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import { filesName, indexName } from "../index-document.ts";
import { type DiskIndex, parseDiskIndex } from "./disk-index.ts";
import { FilesTable } from "./files-table.ts";

export const indexPath = `/${indexName}`;
export const filesPath = `/${filesName}`;

const maxIndexBytes = 256 << 20;
const maxFilesBytes = 2 ** 30;

/** A chunk of a content; `data` is undefined for a hole and only valid until the next chunk is asked for. */
export type ContentChunk = { readonly digest: Uint8Array; readonly data: Uint8Array | undefined };

/**
 * An open cache disk. Opening checks the superblock, the format version and that the id is that of `/nodewarm.files`; all
 * else is only as good as the digests that are compared: `contentChunks` does so for what it reads, `verifyDisk` for all.
 */
export class DiskReader {
  readonly source: ByteSource;
  readonly image: ErofsImage;
  readonly index: DiskIndex;
  readonly files: FilesTable;

  private constructor(source: ByteSource, image: ErofsImage, index: DiskIndex, files: FilesTable) {
    this.source = source;
    this.image = image;
    this.index = index;
    this.files = files;
  }

  /**
   * Opens a file or block device. Throws `DiskError`, `ErofsError`, or what `open(2)` gives.
   */
  static async openPath(path: string, options: ReaderOptions = {}): Promise<DiskReader> {
    const source = await openFileSource(path);
    try {
      return await DiskReader.open(source, options);
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** Takes over `source`: `close` closes it. When this throws it stays the caller's. */
  static async open(source: ByteSource, options: ReaderOptions = {}): Promise<DiskReader> {
    const image = await openImage(source, options);
    const index = parseDiskIndex(await readDiskFile(image, indexPath, maxIndexBytes), source.name);
    const bytes = await readDiskFile(image, filesPath, maxFilesBytes);
    const id = hash("sha256", bytes, "hex");
    if (id !== index.id) {
      throw new DiskError("corrupt", `${source.name}: its id is ${index.id}, but that of /nodewarm.files is ${id}`);
    }
    if (Buffer.from(image.superblock.uuid).toString("hex") !== id.slice(0, 32)) {
      throw new DiskError("corrupt", `${source.name}: the UUID of the superblock is not the beginning of the id ${id}`);
    }
    return new DiskReader(source, image, index, new FilesTable(bytes, source.name));
  }

  /** 64 hex digits. */
  get id(): string {
    return this.index.id;
  }

  /** The inode at a path of the disk, such as a layer's `tree`. Throws `ErofsError` `not-found`. */
  lookup(path: string | Uint8Array): Promise<Inode> {
    return lookup(this.image, path);
  }

  /** Fills `target` with what lies at `firstBlock`, without checking it. */
  readBlocks(firstBlock: number, target: Uint8Array): Promise<void> {
    return this.source.read(firstBlock * blockBytes, target);
  }

  /**
   * The bytes of a content of `files` in chunks of 1 MiB (one chunk for a small one), each compared with its digest.
   * Throws `DiskError` `corrupt` where they differ.
   */
  async *contentChunks(content: number): AsyncGenerator<ContentChunk> {
    const { files } = this;
    const size = files.sizeBytes(content);
    const buffer = Buffer.allocUnsafe(Math.min(size, chunkBytes));
    let position = files.firstBlock(content) * blockBytes;
    for (let offset = 0, i = 0; offset < size; offset += chunkBytes, i++) {
      const isLarge = files.isLarge(content);
      const chunk = isLarge ? files.firstChunk(content) + i : 0;
      const digest = isLarge ? files.chunkDigest(chunk) : files.smallDigest(content);
      if (isLarge && files.isHole(chunk)) {
        yield { digest, data: undefined };
        continue;
      }
      const data = buffer.subarray(0, Math.min(chunkBytes, size - offset));
      await this.source.read(position, data);
      if (!hash("sha256", data, "buffer").equals(digest)) {
        throw new DiskError(
          "corrupt",
          `${this.source.name}: the content at byte ${position} is not what its digest says`,
        );
      }
      yield { digest, data };
      position += chunkBytes;
    }
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/**
 * What the index of a disk says, without the table that the id is of: for a look at disks that are not trusted, or not yet. Throws as
 * `DiskReader.open`; `DiskError` or `ErofsError` also when the index has more than `maxBytes`.
 */
export async function readUncheckedIndex(source: ByteSource, maxBytes: number): Promise<DiskIndex> {
  const image = await openImage(source);
  return parseDiskIndex(await readDiskFile(image, indexPath, maxBytes), source.name);
}

async function openImage(source: ByteSource, options: ReaderOptions = {}): Promise<ErofsImage> {
  try {
    return await ErofsImage.open(source, options);
  } catch (error) {
    if (!(error instanceof ErofsError) || error.code !== "not-erofs") throw error;
    throw new DiskError("not-a-disk", `${source.name} is not a cache disk: it holds no EROFS file system`, {
      cause: error,
    });
  }
}

async function readDiskFile(image: ErofsImage, path: string, maxBytes: number): Promise<Buffer> {
  try {
    return await readWholeFile(image, await lookup(image, path), maxBytes, path);
  } catch (error) {
    if (!(error instanceof ErofsError) || error.code !== "not-found") throw error;
    throw new DiskError("not-a-disk", `${image.source.name} is not a cache disk: it has no ${path}`, { cause: error });
  }
}
