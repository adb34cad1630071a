type Numbers = Uint8Array | Uint32Array | Float64Array;

/** A typed array that grows as numbers are added; `finish` gives it without a spare byte. */
export class GrowingArray<T extends Numbers> {
  readonly #create: (length: number) => T;
  #array: T;
  length = 0;

  constructor(create: (length: number) => T) {
    this.#create = create;
    this.#array = create(1024);
  }

  push(value: number): number {
    this.#reserve(1);
    this.#array[this.length] = value;
    return this.length++;
  }

  append(values: Uint8Array): void {
    this.#reserve(values.length);
    this.#array.set(values, this.length);
    this.length += values.length;
  }

  at(index: number): number {
    return this.#array[index];
  }

  set(index: number, value: number): void {
    this.#array[index] = value;
  }

  finish(): T {
    const result = this.#create(this.length);
    result.set(this.#array.subarray(0, this.length));
    return result;
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#array.length) return;
    const larger = this.#create(Math.max(this.length + count, Math.ceil(this.#array.length * 1.5)));
    larger.set(this.#array);
    this.#array = larger;
  }
}
