const pageBits = 16;
const pageLength = 1 << pageBits;

/** A growing list of u32 in pages of 256 KiB: growth never needs the old and the new at once. */
export class GrowableUint32 {
  readonly #pages: Uint32Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    const page = this.#length >>> pageBits;
    if (page === this.#pages.length) this.#pages.push(new Uint32Array(pageLength));
    this.#pages[page][this.#length++ & (pageLength - 1)] = value;
  }

  get(index: number): number {
    return this.#pages[index >>> pageBits][index & (pageLength - 1)];
  }

  truncate(length: number): void {
    this.#length = length;
    this.#pages.length = Math.ceil(length / pageLength);
  }

  toArray(): Uint32Array {
    const array = new Uint32Array(this.#length);
    this.#pages.forEach((page, i) => {
      array.set(page.subarray(0, Math.min(pageLength, this.#length - i * pageLength)), i * pageLength);
    });
    return array;
  }
}
