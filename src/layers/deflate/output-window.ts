import { crc32 } from "node:zlib";
import { copyBytes } from "../../oci/copy-bytes.ts";

/** How far back a deflate stream may copy from. */
export const historyBytes: number = 32 << 10;

/** Most that is handed on at once. More would leave the processor's cache before it is hashed. */
export const windowBytes: number = 256 << 10;

/** The output of a deflate stream: what is not handed on yet, behind the last 32 KiB of what is. */
export class OutputWindow {
  readonly #buffer: Uint8Array = Buffer.allocUnsafeSlow(historyBytes + windowBytes);
  #historyStart = historyBytes;
  #end = historyBytes;
  #crc = 0;
  #sizeBytes = 0;

  /** The whole buffer; output goes on at `end`. */
  get buffer(): Uint8Array {
    return this.#buffer;
  }

  get end(): number {
    return this.#end;
  }

  /** Where the history begins that there is, or what is not handed on yet. */
  get historyStart(): number {
    return this.#historyStart;
  }

  get isEmpty(): boolean {
    return this.#end === historyBytes;
  }

  get room(): number {
    return this.#buffer.length - this.#end;
  }

  /** CRC-32 of all that was handed on. */
  get crc(): number {
    return this.#crc;
  }

  /** Bytes handed on. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** At most 32 KiB that were handed on last. */
  get history(): Uint8Array {
    return this.#buffer.subarray(this.#historyStart, historyBytes);
  }

  /** Adds at most `room` bytes. */
  put(bytes: Uint8Array): void {
    copyBytes(this.#buffer, bytes, this.#end);
    this.#end += bytes.length;
  }

  /** What was written to the buffer counts up to here. */
  moveEnd(end: number): void {
    this.#end = end;
  }

  /** Hands on what is there. It may be looked at until more is added. */
  take(): Uint8Array {
    const piece = this.#buffer.subarray(historyBytes, this.#end);
    this.count(piece);
    this.#buffer.copyWithin(0, this.#end - historyBytes, this.#end);
    this.#historyStart = Math.max(0, this.#historyStart - piece.length);
    this.#end = historyBytes;
    return piece;
  }

  /** Counts output that was made elsewhere. */
  count(piece: Uint8Array): void {
    this.#crc = crc32(piece, this.#crc);
    this.#sizeBytes += piece.length;
  }
}
