const pageBits = 12;
const pageLength = 1 << pageBits;

/** Numbers by a large sparse index; what was never set is 0. Memory grows with the pages that are touched. */
export class PagedCounts {
  readonly #pages = new Map<number, Uint32Array>();

  get(index: number): number {
    const page = this.#pages.get(Math.floor(index / pageLength));
    return page === undefined ? 0 : page[index % pageLength];
  }

  set(index: number, value: number): void {
    const number = Math.floor(index / pageLength);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint32Array(pageLength);
      this.#pages.set(number, page);
    }
    page[index % pageLength] = value;
  }

  /** All that are not 0, as index and value. */
  *entries(): Generator<[number, number]> {
    for (const [number, page] of this.#pages) {
      for (let i = 0; i < pageLength; i++) if (page[i] !== 0) yield [number * pageLength + i, page[i]];
    }
  }
}

/** Small numbers (0 to 255) by a large sparse index. */
export class PagedBytes {
  readonly #pages = new Map<number, Uint8Array>();

  get(index: number): number {
    const page = this.#pages.get(Math.floor(index / pageLength));
    return page === undefined ? 0 : page[index % pageLength];
  }

  set(index: number, value: number): void {
    const number = Math.floor(index / pageLength);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new Uint8Array(pageLength);
      this.#pages.set(number, page);
    }
    page[index % pageLength] = value;
  }
}
