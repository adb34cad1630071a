import { type ByteSource, checkRange } from "../../byte-source.ts";
import { ErofsError } from "../erofs-error.ts";
import type { ErofsImage } from "./erofs-image.ts";
import { type Inode, isRegular } from "./inode-parser.ts";

const pieceBytes = 1 << 20;

/**
 * The contents of a regular file from `start` to the end, in pieces of at most 1 MiB; holes are zeros. Each piece is only valid until the next is
 * asked for. Throws `ErofsError`.
 */
export async function* readFileData(image: ErofsImage, inode: Inode, start = 0): AsyncGenerator<Uint8Array> {
  const source = openInnerFile(image, inode, `inode ${inode.nid}`);
  const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(0, inode.sizeBytes - start)));
  for (let offset = start; offset < inode.sizeBytes; offset += pieceBytes) {
    const piece = buffer.subarray(0, Math.min(pieceBytes, inode.sizeBytes - offset));
    await source.read(offset, piece);
    yield piece;
  }
}

/** The whole contents of a regular file. Throws `ErofsError` `limit` when it has more than `maxBytes`. */
export async function readWholeFile(image: ErofsImage, inode: Inode, maxBytes: number, name: string): Promise<Buffer> {
  if (inode.sizeBytes > maxBytes) {
    throw new ErofsError("limit", `${image.source.name}: ${name} has ${inode.sizeBytes} bytes, more than ${maxBytes}`);
  }
  const bytes = Buffer.alloc(inode.sizeBytes);
  await openInnerFile(image, inode, name).read(0, bytes);
  return bytes;
}

/** A file of an image as a source of its own, so that images inside an image can be opened. */
export function openInnerFile(image: ErofsImage, inode: Inode, name: string): ByteSource {
  if (!isRegular(inode)) throw new ErofsError("not-a-file", `${image.source.name}: ${name} is not a regular file`);
  return new InnerFile(image, inode, `${image.source.name}: ${name}`);
}

class InnerFile implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #image: ErofsImage;
  readonly #inode: Inode;

  constructor(image: ErofsImage, inode: Inode, name: string) {
    this.name = name;
    this.sizeBytes = inode.sizeBytes;
    this.#image = image;
    this.#inode = inode;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    checkRange(this, position, target.length);
    let done = 0;
    while (done < target.length) {
      const extent = await this.#extent(position + done, target.length - done);
      const piece = target.subarray(done, done + extent.length);
      if (extent.position === undefined) piece.fill(0);
      else await this.#image.source.read(extent.position, piece);
      done += piece.length;
    }
  }

  /** At most `length` bytes; neighbouring chunks are joined, so that a file of 4 KiB chunks is not read 4 KiB at a time. */
  async #extent(offset: number, length: number): Promise<{ position: number | undefined; length: number }> {
    const first = await this.#image.extent(this.#inode, offset);
    let total = Math.min(first.length, length);
    while (total < length) {
      const next = await this.#image.extent(this.#inode, offset + total);
      const expected = first.position === undefined ? undefined : first.position + total;
      if (next.position !== expected) break;
      total = Math.min(total + next.length, length);
    }
    return { position: first.position, length: total };
  }

  async close(): Promise<void> {}
}
