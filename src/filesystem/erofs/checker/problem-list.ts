/** Something that is wrong with an image. */
export type Problem = {
  /** Path or part of the image, such as `/layers/ab…/etc/passwd` or `superblock`. */
  readonly place: string;
  readonly message: string;
};

const defaultMaxProblems = 100;

/** Collects problems up to a bound, so that an image that is wrong everywhere neither floods memory nor the reader. */
export class ProblemList {
  readonly #problems: Problem[] = [];
  readonly #max: number;
  #omitted = 0;

  constructor(max = defaultMaxProblems) {
    this.#max = max;
  }

  add(place: string, message: string): void {
    if (this.#problems.length < this.#max) this.#problems.push({ place, message });
    else this.#omitted++;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** How many more there were than `problems` holds. */
  get omitted(): number {
    return this.#omitted;
  }

  get isEmpty(): boolean {
    return this.#problems.length === 0;
  }

  get isFull(): boolean {
    return this.#problems.length >= this.#max;
  }
}
