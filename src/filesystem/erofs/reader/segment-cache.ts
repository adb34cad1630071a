import type { ByteSource } from "../../byte-source.ts";
import { ErofsError } from "../erofs-error.ts";

/** Of neighbouring inodes and directories: most walks need what follows, too. */
const defaultSegmentBytes = 64 * 1024;

/**
 * Keeps what was read last of a source, in segments, so that walks over neighbouring inodes and directories cost few
 * reads. Views stay valid after their segment has left the cache.
 */
export class SegmentCache {
  readonly #source: ByteSource;
  readonly #endBytes: number;
  readonly #maxSegments: number;
  readonly #segmentBytes: number;
  readonly #segments = new Map<number, Buffer>();
  #lastNumber = -1;
  #last: Buffer = Buffer.alloc(0);

  /** Nothing at or behind `endBytes` is read; `budgetBytes` bounds the memory. */
  constructor(source: ByteSource, endBytes: number, budgetBytes: number, segmentBytes = defaultSegmentBytes) {
    this.#source = source;
    this.#segmentBytes = segmentBytes;
    this.#endBytes = endBytes;
    this.#maxSegments = Math.max(2, Math.floor(budgetBytes / segmentBytes));
  }

  /** The bytes if they are at hand, so that the caller need not wait. */
  peek(position: number, length: number): Buffer | undefined {
    const number = Math.floor(position / this.#segmentBytes);
    const offset = position - number * this.#segmentBytes;
    if (number !== this.#lastNumber) {
      const segment = this.#segments.get(number);
      if (segment === undefined) return undefined;
      // Least recently used first: what is used moves to the end.
      this.#segments.delete(number);
      this.#segments.set(number, segment);
      this.#lastNumber = number;
      this.#last = segment;
    }
    if (offset + length > this.#last.length) return undefined;
    return this.#last.subarray(offset, offset + length);
  }

  /**
   * The bytes at `position`. Throws `ErofsError` `corrupt` when they are not all inside the image; `what` names them in
   * the message.
   */
  async view(position: number, length: number, what: string): Promise<Buffer> {
    if (!(position >= 0 && position + length <= this.#endBytes)) {
      throw new ErofsError("corrupt", `${what} lies outside of the image: ${length} bytes at ${position}`);
    }
    const first = Math.floor(position / this.#segmentBytes);
    const last = Math.floor((position + Math.max(length, 1) - 1) / this.#segmentBytes);
    if (first === last) {
      await this.#load(first);
      const bytes = this.peek(position, length);
      if (bytes !== undefined) return bytes;
    }
    const result = Buffer.allocUnsafe(length);
    let done = 0;
    for (let number = first; number <= last; number++) {
      const segment = await this.#load(number);
      const from = Math.max(0, position - number * this.#segmentBytes);
      done += segment.copy(result, done, from, Math.min(segment.length, from + length - done));
    }
    return result;
  }

  async #load(number: number): Promise<Buffer> {
    const known = this.#segments.get(number);
    if (known !== undefined) return known;
    const position = number * this.#segmentBytes;
    const segment = Buffer.allocUnsafeSlow(Math.max(0, Math.min(this.#segmentBytes, this.#endBytes - position)));
    await this.#source.read(position, segment);
    this.#segments.set(number, segment);
    for (const oldest of this.#segments.keys()) {
      if (this.#segments.size <= this.#maxSegments) break;
      this.#segments.delete(oldest);
    }
    return segment;
  }
}
