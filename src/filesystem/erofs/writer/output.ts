/** Where an image's bytes go; positions are bytes from the start of the file. Bytes never written read as zeros. */
export interface RandomAccessOutput {
  /** Writes all of `bytes`. The caller does not change them until the promise resolves. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Fills `bytes`; what lies behind the end reads as zeros. */
  read(bytes: Uint8Array, position: number): Promise<void>;
}

/** In memory, for tests and small images. */
export class MemoryOutput implements RandomAccessOutput {
  #bytes = new Uint8Array(1 << 16);

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const end = position + bytes.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, position);
  }

  async read(bytes: Uint8Array, position: number): Promise<void> {
    bytes.fill(0);
    bytes.set(this.#bytes.subarray(position, position + bytes.length));
  }

  /** The first `length` bytes. */
  bytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    result.set(this.#bytes.subarray(0, length));
    return result;
  }
}
