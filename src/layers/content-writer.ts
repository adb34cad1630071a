import { createHash, type Hash, hash } from "node:crypto";
import { copyBytes } from "../oci/copy-bytes.ts";
import { type ContentSink, chunkBytes, holeDigest } from "./content.ts";
import { ContentTable } from "./content-table.ts";
import type { SparseMap } from "./tar/sparse.ts";

/** Chunks made of a sparse file in one `pump`, so that the sink can hold it up. */
const chunksPerPump = 16;

export type ContentWriterOptions = {
  readonly sink: ContentSink;
  /** Told how many bytes were made for holes: zeros, or the digests of chunks that are holes; may throw. */
  readonly onFilled: (bytes: number) => void;
};

/**
 * Turns the data of files into contents for the sink: hashes them, cuts large ones into chunks, gives each distinct one once. Bytes that
 * arrive in one piece are hashed and given where they lie, others where the sink wants them.
 */
export class ContentWriter {
  readonly contents = new ContentTable();
  readonly #sink: ContentSink;
  readonly #onFilled: (bytes: number) => void;
  readonly #digest = Buffer.alloc(32);
  /** Of the sink, for the current content or chunk, while `#filled` bytes of it are there. */
  #room: Uint8Array | undefined;
  #filled = 0;
  #sizeBytes = 0;
  #position = 0;
  #key: Hash | undefined;
  #done: ((content: number) => void) | undefined;

  #sparse: SparseMap | undefined;
  /** Index into the map of the part that comes next. */
  #part = 0;
  /** Stored bytes that a sparse file has got and not yet used. */
  #piece: Uint8Array | undefined;
  #hasAllData = false;

  constructor({ sink, onFilled }: ContentWriterOptions) {
    this.#sink = sink;
    this.#onFilled = onFilled;
  }

  /** True while `pump` has to be called before anything else. */
  get busy(): boolean {
    return this.#sparse !== undefined && (this.#piece !== undefined || this.#hasAllData);
  }

  /** Begins a file of at least one byte; `done` gets the number of its content. */
  begin(sizeBytes: number, sparse: SparseMap | undefined, done: (content: number) => void): void {
    this.#sizeBytes = sizeBytes;
    this.#position = 0;
    this.#filled = 0;
    this.#room = undefined;
    this.#done = done;
    this.#sparse = sparse;
    this.#part = 0;
    this.#hasAllData = false;
    if (sizeBytes > chunkBytes) {
      this.#key = createHash("sha256");
      this.#sink.beginLarge(sizeBytes);
    }
  }

  /** Takes the next stored bytes. */
  write(piece: Uint8Array): void {
    if (this.#sparse === undefined) {
      this.#take(piece);
      return;
    }
    this.#piece = piece;
    this.pump();
  }

  /** All stored bytes were given. */
  end(): void {
    if (this.#sparse === undefined) return;
    this.#hasAllData = true;
    this.pump();
  }

  /** Goes on with a sparse file, for some chunks. */
  pump(): void {
    let chunks = 0;
    while (this.#sparse !== undefined && chunks < chunksPerPump) {
      const before = Math.floor(this.#position / chunkBytes);
      if (!this.#step(this.#sparse)) return;
      chunks += Math.floor(this.#position / chunkBytes) - before;
    }
  }

  /** Moves on within a sparse file, by a hole or some data. Returns whether it could. */
  #step(map: SparseMap): boolean {
    while (this.#part < map.length && map[this.#part + 1] === 0) this.#part += 2;
    const isLast = this.#part >= map.length;
    const start = isLast ? this.#sizeBytes : (map[this.#part] as number);
    if (this.#position < start) {
      if (isLast && !this.#hasAllData) return false;
      this.#hole(start);
      return true;
    }
    if (isLast || this.#piece === undefined) return false;
    const end = start + (map[this.#part + 1] as number);
    const size = Math.min(end - this.#position, this.#piece.length);
    const data = this.#piece.subarray(0, size);
    this.#piece = size === this.#piece.length ? undefined : this.#piece.subarray(size);
    if (this.#position + size === end) this.#part += 2;
    this.#take(data);
    return true;
  }

  /** A hole reaches at least to `end`: gives one whole hole chunk, or fills up the current chunk with zeros. */
  #hole(end: number): void {
    const chunkEnd = Math.min(this.#sizeBytes, this.#position - this.#filled + chunkBytes);
    if (this.#filled === 0 && this.#key !== undefined && end >= chunkEnd) {
      // Costs a digest, and is free in the tar: without a bound, small layers could hold any number of them.
      this.#onFilled(holeDigest.length);
      this.#sink.chunk(holeDigest, undefined);
      this.#key.update(holeDigest);
      this.#position = chunkEnd;
      this.#finishIfWhole();
      return;
    }
    const size = Math.min(end, chunkEnd) - this.#position;
    this.#onFilled(size);
    const room = this.#roomFor(chunkEnd - this.#position + this.#filled);
    room.fill(0, this.#filled, this.#filled + size);
    this.#filled += size;
    this.#position += size;
    if (this.#position === chunkEnd) this.#endChunk(room);
  }

  #take(piece: Uint8Array): void {
    let at = 0;
    while (at < piece.length) {
      const chunkSize = Math.min(chunkBytes, this.#sizeBytes - (this.#position - this.#filled));
      const size = Math.min(chunkSize - this.#filled, piece.length - at);
      const part = piece.subarray(at, at + size);
      at += size;
      this.#position += size;
      if (size === chunkSize) {
        this.#endChunk(part);
        continue;
      }
      const room = this.#roomFor(chunkSize);
      copyBytes(room, part, this.#filled);
      this.#filled += size;
      if (this.#filled === chunkSize) this.#endChunk(room);
    }
  }

  #roomFor(chunkSize: number): Uint8Array {
    this.#room ??= this.#sink.room(chunkSize);
    return this.#room;
  }

  #endChunk(data: Uint8Array): void {
    this.#filled = 0;
    this.#room = undefined;
    if (this.#key === undefined) {
      // Three times as fast as asking for a buffer, which counts for small files.
      this.#digest.write(hash("sha256", data, "binary"), "binary");
      const content = this.contents.length;
      const number = this.contents.add(this.#digest, this.#sizeBytes);
      if (number === content) this.#sink.small(this.contents.digest(number), data);
      this.#finish(number);
      return;
    }
    const digest = hash("sha256", data, "buffer");
    this.#key.update(digest);
    this.#sink.chunk(digest, data);
    this.#finishIfWhole();
  }

  #finishIfWhole(): void {
    if (this.#key === undefined || this.#position < this.#sizeBytes) return;
    const key = this.#key.digest();
    this.#key = undefined;
    const content = this.contents.length;
    const number = this.contents.add(key, this.#sizeBytes);
    this.#sink.endLarge(key, number === content);
    this.#finish(number);
  }

  #finish(content: number): void {
    this.#sparse = undefined;
    this.#piece = undefined;
    this.#done?.(content);
    this.#done = undefined;
  }
}
