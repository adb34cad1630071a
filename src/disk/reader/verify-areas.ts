import { hash } from "node:crypto";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind } from "../files-format.ts";
import type { DiskReader } from "./disk-reader.ts";

/**
 * Compares every byte of a disk's areas of some kinds (inodes, directories, the index) with its digest; the id covers all digests.
 * `wayOut` ends the message. Throws `DiskError` `corrupt`, or the reason of `signal`.
 */
export async function verifyAreas(
  disk: DiskReader,
  kinds: readonly (typeof areaKind.metadata | typeof areaKind.index)[],
  signal: AbortSignal,
  wayOut: string,
): Promise<void> {
  const { files } = disk;
  const buffer = new Uint8Array(chunkBytes);
  for (let i = 0; i < files.areaCount; i++) {
    const area = files.area(i);
    if (!kinds.some((kind) => kind === area.kind)) continue;
    for (let block = 0, chunk = area.firstChunk; block < area.blockCount; block += chunkBytes / blockBytes, chunk++) {
      signal.throwIfAborted();
      const piece = buffer.subarray(0, Math.min(chunkBytes, (area.blockCount - block) * blockBytes));
      await disk.readBlocks(area.firstBlock + block, piece);
      if (area.kind === areaKind.index && block === 0) maskId(piece, disk.id);
      if (!hash("sha256", piece, "buffer").equals(files.chunkDigest(chunk)))
        throw new DiskError(
          "corrupt",
          `${disk.source.name}: the metadata at block ${area.firstBlock + block} is not what its digest says; ${wayOut}`,
        );
    }
  }
}

/** The digest of the index is taken with zeros for the digits of the id, which stand in its second line. */
function maskId(index: Uint8Array, id: string): void {
  const at = Buffer.from(index.buffer, index.byteOffset, index.length).indexOf(`"id": "${id}"`);
  if (at >= 0) index.fill(0x30, at + '"id": "'.length, at + '"id": "'.length + id.length);
}
