/** Bytes by which arrays grow at least. */
const stepBytes = 1 << 16;

type Numbers = Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/**
 * A packed array of numbers that grows in place: address space for `maximum` items is reserved, memory is taken as it fills.
 * `items` always views the whole capacity; only those below `length` count.
 */
export class GrowingArray<View extends Numbers> {
  readonly items: View;
  #length = 0;
  readonly #buffer: ArrayBuffer;

  constructor(View: { new (buffer: ArrayBuffer): View; readonly BYTES_PER_ELEMENT: number }, maximum: number) {
    const reserve = Math.ceil((maximum * View.BYTES_PER_ELEMENT) / stepBytes + 1) * stepBytes;
    this.#buffer = new ArrayBuffer(0, { maxByteLength: reserve });
    this.items = new View(this.#buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** Adds an item; returns its index. Throws `RangeError` past `maximum`. */
  push(value: number): number {
    if (this.#length === this.items.length) this.#grow(this.items.BYTES_PER_ELEMENT);
    this.items[this.#length] = value;
    return this.#length++;
  }

  /** Adds a run of bytes; returns the index of the first. Only for arrays of bytes. */
  append(bytes: Uint8Array): number {
    const start = this.#length;
    if (start + bytes.length > this.items.length) this.#grow(bytes.length);
    this.items.set(bytes, start);
    this.#length += bytes.length;
    return start;
  }

  /** Gives the memory back, also if it is called again. The array must not be used any more. */
  free(): void {
    this.#length = 0;
    // Shrinking it would zero what it held first, also pages that were never touched.
    if (!this.#buffer.detached) this.#buffer.transferToFixedLength(0);
  }

  #grow(byBytes: number): void {
    const { byteLength, maxByteLength } = this.#buffer;
    const wanted = Math.max(byteLength + byBytes, byteLength * 1.125, byteLength + stepBytes);
    const rounded = Math.ceil(wanted / stepBytes) * stepBytes;
    this.#buffer.resize(Math.max(byteLength + byBytes, Math.min(rounded, maxByteLength)));
  }
}
