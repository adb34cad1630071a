const digestBytes = 32;
/** Contents in one segment; segments are never copied when the table grows. */
const segmentLength = 1 << 14;
const empty = 0xffff_ffff;

/**
 * Numbers contents by digest and size, from 0 in the order of `add`. Packed: 36 bytes for each content and about 8 for its slots,
 * so that 2 million contents take less than 110 MB.
 */
export class ContentTable {
  readonly #digests: Buffer[] = [];
  /** Sizes modulo 2^32; what is above is in `#sizesAbove`. */
  readonly #sizes: Uint32Array[] = [];
  readonly #sizesAbove = new Map<number, number>();
  #slots = new Uint32Array(1 << 10).fill(empty);
  #length = 0;

  /** How many contents the table holds. */
  get length(): number {
    return this.#length;
  }

  /** The number of the content with these 32 bytes and this size, or `undefined`. */
  find(digest: Uint8Array, sizeBytes: number): number | undefined {
    const index = this.#slots[this.#slot(digest, sizeBytes)] as number;
    return index === empty ? undefined : index;
  }

  /** The number of the content, which is new unless the table has it already. */
  add(digest: Uint8Array, sizeBytes: number): number {
    if (digest.length !== digestBytes) throw new RangeError(`a digest has ${digestBytes} bytes, not ${digest.length}`);
    const slot = this.#slot(digest, sizeBytes);
    const known = this.#slots[slot] as number;
    if (known !== empty) return known;
    const index = this.#length++;
    const at = index % segmentLength;
    if (at === 0) {
      this.#digests.push(Buffer.alloc(digestBytes * segmentLength));
      this.#sizes.push(new Uint32Array(segmentLength));
    }
    this.#digests.at(-1)?.set(digest, at * digestBytes);
    (this.#sizes.at(-1) as Uint32Array)[at] = sizeBytes % 2 ** 32;
    if (sizeBytes >= 2 ** 32) this.#sizesAbove.set(index, sizeBytes - (sizeBytes % 2 ** 32));
    this.#slots[slot] = index;
    if (this.#length > this.#slots.length * 0.75) this.#grow();
    return index;
  }

  /** A view of the content's digest. */
  digest(index: number): Uint8Array {
    const at = (index % segmentLength) * digestBytes;
    return this.#segment(index).subarray(at, at + digestBytes);
  }

  /** Size of the content in bytes. */
  size(index: number): number {
    this.#segment(index);
    return this.#sizeAt(index);
  }

  #sizeAt(index: number): number {
    const low = this.#sizes[Math.floor(index / segmentLength)][index % segmentLength];
    return this.#sizesAbove.size === 0 ? low : low + (this.#sizesAbove.get(index) ?? 0);
  }

  #segment(index: number): Buffer {
    const segment = this.#digests[Math.floor(index / segmentLength)];
    if (segment === undefined || index < 0 || index >= this.#length)
      throw new RangeError(`there is no content ${index} among ${this.#length}`);
    return segment;
  }

  /** The slot that holds the content, or the empty one where it belongs. Digests are uniform, so their start is the hash. */
  #slot(digest: Uint8Array, sizeBytes: number): number {
    if (this.#slots.length === 0) throw new Error("the table is sealed");
    const mask = this.#slots.length - 1;
    const start = hash(digest, 0);
    for (let slot = start & mask; ; slot = (slot + 1) & mask) {
      const index = this.#slots[slot] as number;
      if (index === empty || this.#equals(index, digest, sizeBytes)) return slot;
    }
  }

  #equals(index: number, digest: Uint8Array, sizeBytes: number): boolean {
    const segment = Math.floor(index / segmentLength);
    const at = index % segmentLength;
    if (this.#sizeAt(index) !== sizeBytes) return false;
    const digests = this.#digests[segment] as Buffer;
    for (let i = 0; i < digestBytes; i++) if (digests[at * digestBytes + i] !== digest[i]) return false;
    return true;
  }

  /** Frees what finds known contents: from now on none is looked for or added. */
  seal(): void {
    this.#slots.buffer.transfer(0);
  }

  /** Forgets the contents from number `length` on. */
  truncate(length: number): void {
    this.#length = length;
    for (const index of this.#sizesAbove.keys()) if (index >= length) this.#sizesAbove.delete(index);
    const segments = Math.ceil(length / segmentLength);
    this.#digests.length = segments;
    this.#sizes.length = segments;
    this.#fill(this.#slots.length);
  }

  #grow(): void {
    this.#fill(this.#slots.length * 2);
  }

  /** Puts every content into `count` empty slots, a power of two. */
  #fill(count: number): void {
    // Not left to the collector, which does not see how much it is.
    this.#slots.buffer.transfer(0);
    const slots = new Uint32Array(count).fill(empty);
    const mask = slots.length - 1;
    for (let index = 0; index < this.#length; index++) {
      const digests = this.#digests[Math.floor(index / segmentLength)] as Buffer;
      let slot = hash(digests, (index % segmentLength) * digestBytes) & mask;
      while (slots[slot] !== empty) slot = (slot + 1) & mask;
      slots[slot] = index;
    }
    this.#slots = slots;
  }
}

function hash(digest: Uint8Array, at: number): number {
  return (
    (digest[at] as number) |
    ((digest[at + 1] as number) << 8) |
    ((digest[at + 2] as number) << 16) |
    ((digest[at + 3] as number) << 24)
  );
}
