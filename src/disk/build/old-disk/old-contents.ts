import { hash } from "node:crypto";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../../layers/content.ts";
import type { DiskReader } from "../../reader/disk-reader.ts";
import type { ContentStore } from "../contents/content-store.ts";
import type { BlockCopier } from "./block-copier.ts";

/**
 * Gives a layer's contents (numbers of the older disk, in the layer's order) to `contents`; `copier` gets those that it lacks. Throws
 * what went wrong with earlier ones.
 */
export async function storeOldContents(
  disk: DiskReader,
  wanted: Uint32Array,
  contents: ContentStore,
  copier: BlockCopier,
  signal: AbortSignal,
): Promise<void> {
  const { files } = disk;
  for (const content of wanted) {
    signal.throwIfAborted();
    const sizeBytes = files.sizeBytes(content);
    const isLarge = files.isLarge(content);
    const chunkDigests = isLarge ? files.chunkDigests(content) : undefined;
    const key = chunkDigests === undefined ? files.smallDigest(content) : hash("sha256", chunkDigests, "buffer");
    const block = contents.place(key, sizeBytes, chunkDigests);
    if (block === undefined) continue;
    const waits = isLarge
      ? copyChunks(disk, content, block, copier)
      : copier.add(files.firstBlock(content), block, sizeBytes, key);
    if (waits !== undefined) await waits;
  }
  copier.flush();
}

async function copyChunks(disk: DiskReader, content: number, block: number, copier: BlockCopier): Promise<void> {
  const { files } = disk;
  const sizeBytes = files.sizeBytes(content);
  let done = 0;
  for (let i = 0; i * chunkBytes < sizeBytes; i++) {
    const chunk = files.firstChunk(content) + i;
    if (files.isHole(chunk)) continue;
    const bytes = Math.min(chunkBytes, sizeBytes - i * chunkBytes);
    await copier.add(files.firstBlock(content) + done, block + done, bytes, files.chunkDigest(chunk));
    done += chunkBytes / blockBytes;
  }
}
