import { hash } from "node:crypto";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../../layers/content.ts";
import { DiskError } from "../../disk-error.ts";
import type { DiskReader } from "../../reader/disk-reader.ts";
import { BatchWriter } from "../contents/batch-writer.ts";
import { batchBytes, batchKind, type ContentBatch } from "../contents/content-batch.ts";
import type { ContentStore } from "../contents/content-store.ts";

/** Bytes that are read at once: contents of a layer mostly lie one after the other. */
const windowBytes = 4 << 20;

/**
 * Gives a layer's contents (numbers of the older disk, in the layer's order) to `contents`; those that it lacks are read and compared
 * with their digests. Throws `DiskError` `corrupt`.
 */
export async function storeOldContents(
  disk: DiskReader,
  wanted: Uint32Array,
  contents: ContentStore,
  signal: AbortSignal,
): Promise<void> {
  const full: ContentBatch[] = [];
  const writer = new BatchWriter(
    (batch) => full.push(batch),
    () => new Uint8Array(batchBytes),
  );
  const drain = async (): Promise<void> => {
    for (let batch = full.shift(); batch !== undefined; batch = full.shift()) {
      signal.throwIfAborted();
      await contents.take(batch);
    }
  };
  const window = new ReadWindow(disk);
  const { files } = disk;
  for (const content of wanted) {
    const sizeBytes = files.sizeBytes(content);
    if (!files.isLarge(content)) {
      const digest = files.smallDigest(content);
      if (contents.has(digest, sizeBytes)) writer.add(batchKind.known, sizeBytes, digest);
      else {
        const data = await window.read(files.firstBlock(content), sizeBytes);
        writer.add(batchKind.small, sizeBytes, checked(disk, digest, data, files.firstBlock(content)), data);
      }
    } else {
      const key = hash("sha256", files.chunkDigests(content), "buffer");
      if (contents.has(key, sizeBytes)) writer.add(batchKind.known, sizeBytes, key);
      else {
        writer.add(batchKind.beginLarge, sizeBytes);
        await addChunks(disk, content, window, writer, drain);
        writer.add(batchKind.endLarge, 0, key);
      }
    }
    if (full.length > 0) await drain();
  }
  writer.flush();
  await drain();
}

async function addChunks(
  disk: DiskReader,
  content: number,
  window: ReadWindow,
  writer: BatchWriter,
  drain: () => Promise<void>,
): Promise<void> {
  const { files } = disk;
  const sizeBytes = files.sizeBytes(content);
  let block = files.firstBlock(content);
  for (let i = 0; i * chunkBytes < sizeBytes; i++) {
    const chunk = files.firstChunk(content) + i;
    const digest = files.chunkDigest(chunk);
    if (files.isHole(chunk)) writer.add(batchKind.hole, 0, digest);
    else {
      const data = await window.read(block, Math.min(chunkBytes, sizeBytes - i * chunkBytes));
      writer.add(batchKind.chunk, data.length, checked(disk, digest, data, block), data);
      block += chunkBytes / blockBytes;
    }
    await drain();
  }
}

/** `digest`, when it is that of `data`. */
function checked(disk: DiskReader, digest: Uint8Array, data: Uint8Array, block: number): Uint8Array {
  if (hash("sha256", data, "buffer").equals(digest)) return digest;
  throw new DiskError(
    "corrupt",
    `${disk.source.name}: the content at block ${block} is not what its digest says; build without --from`,
  );
}

/** Reads ahead through one buffer. */
class ReadWindow {
  readonly #disk: DiskReader;
  readonly #buffer = new Uint8Array(windowBytes);
  #firstBlock = 0;
  #blocks = 0;

  constructor(disk: DiskReader) {
    this.#disk = disk;
  }

  /** `bytes` ≤ 1 MiB from `block` on; valid until the next call. */
  async read(block: number, bytes: number): Promise<Uint8Array> {
    const end = block + Math.ceil(bytes / blockBytes);
    if (block < this.#firstBlock || end > this.#firstBlock + this.#blocks) {
      const left = this.#disk.image.superblock.blockCount - block;
      this.#firstBlock = block;
      this.#blocks = Math.min(windowBytes / blockBytes, left);
      await this.#disk.readBlocks(block, this.#buffer.subarray(0, this.#blocks * blockBytes));
    }
    const offset = (block - this.#firstBlock) * blockBytes;
    return this.#buffer.subarray(offset, offset + bytes);
  }
}
