import type { ImageChange } from "./image-keeper.ts";

/** More names than this, and comparing everything is cheaper than going through them. */
const maxNames = 1000;

/**
 * Changes on their way to a reader who may be slow: a name waits once however often it changes, and what is told by a later `listening` or
 * `lost` waits no longer. So memory is bounded.
 */
export class ChangeQueue {
  readonly #names = new Set<string | undefined>();
  /** `lost` and `listening`, at most one of each, before the names. */
  #states: ImageChange[] = [];
  #isEnded = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => {};

  push(change: ImageChange): void {
    if (change.type === "changed") {
      this.#names.add(change.name);
      if (this.#names.size > maxNames) this.push({ type: "listening" });
    } else {
      // Whoever is told either will look at everything.
      this.#names.clear();
      this.#states =
        change.type === "lost" ? [change] : [...this.#states.filter(({ type }) => type === "lost"), change];
    }
    this.#wake();
  }

  /** The reader comes to its end after what waits. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** The reader gets the error after what waits. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.end();
  }

  /** For one reader. Ends without an error when `signal` aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<ImageChange, void, undefined> {
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      while (!signal.aborted) {
        const next = this.#take();
        if (next !== undefined) {
          yield next;
          continue;
        }
        if (this.#failure !== undefined) throw this.#failure.error;
        if (this.#isEnded) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  #take(): ImageChange | undefined {
    const state = this.#states.shift();
    if (state !== undefined) return state;
    for (const name of this.#names) {
      this.#names.delete(name);
      return name === undefined ? { type: "changed" } : { type: "changed", name };
    }
    return undefined;
  }
}
