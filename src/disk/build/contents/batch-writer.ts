import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { copyBytes } from "../../../oci/copy-bytes.ts";
import { batchBytes, batchRecords, type ContentBatch } from "./content-batch.ts";

/** Collects records into a batch; full ones go to `emit` with a fresh buffer from `allocate` taking their place. */
export class BatchWriter {
  readonly #emit: (batch: ContentBatch) => void;
  readonly #allocate: () => Uint8Array;
  #data: Uint8Array | undefined;
  #used = 0;
  #count = 0;
  #kinds = new Uint8Array(batchRecords);
  #sizes = new Float64Array(batchRecords);
  #digests = new Uint8Array(32 * batchRecords);
  #offsets = new Uint32Array(batchRecords);

  constructor(emit: (batch: ContentBatch) => void, allocate: () => Uint8Array) {
    this.#emit = emit;
    this.#allocate = allocate;
  }

  /**
   * Where the data of the next record, of at most `sizeBytes`, will lie: until the next `add` or `flush`. What does not fit into the batch begins
   * another one, also if it is not added then.
   */
  room(sizeBytes: number): Uint8Array {
    this.#flushUnlessFits(sizeBytes);
    this.#data ??= this.#allocate();
    return this.#data.subarray(this.#used, this.#used + sizeBytes);
  }

  /** `sizeBytes` is that of the record; `data` may be left out, or be what was put into `room`. */
  add(kind: number, sizeBytes: number, digest?: Uint8Array, data?: Uint8Array): void {
    this.#flushUnlessFits(data?.length ?? 0);
    const i = this.#count++;
    this.#kinds[i] = kind;
    this.#sizes[i] = sizeBytes;
    if (digest !== undefined) this.#digests.set(digest, 32 * i);
    if (data === undefined) return;
    this.#data ??= this.#allocate();
    const end = this.#used + data.length;
    const padded = Math.ceil(end / blockBytes) * blockBytes;
    if (!this.#isInPlace(data)) copyBytes(this.#data, data, this.#used);
    this.#data.fill(0, end, padded);
    this.#offsets[i] = this.#used;
    this.#used = padded;
  }

  #flushUnlessFits(dataBytes: number): void {
    if (this.#count === batchRecords || this.#used + dataBytes > batchBytes) this.flush();
  }

  #isInPlace({ buffer, byteOffset }: Uint8Array): boolean {
    return buffer === this.#data?.buffer && byteOffset === this.#data.byteOffset + this.#used;
  }

  flush(): void {
    if (this.#count === 0) return;
    const count = this.#count;
    this.#emit({
      count,
      kinds: this.#kinds.slice(0, count),
      sizes: this.#sizes.slice(0, count),
      digests: this.#digests.slice(0, 32 * count),
      offsets: this.#offsets.slice(0, count),
      data: this.#data ?? new Uint8Array(0),
    });
    this.#count = 0;
    this.#used = 0;
    this.#data = undefined;
  }
}
