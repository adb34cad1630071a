/** Tells any number of readers that something changed. A reader who is slow hears of many changes once. */
export class ChangeSignal {
  readonly #readers = new Set<() => void>();

  /** Every reader gets an item, unless one waits for it already. */
  tell(): void {
    for (const notify of this.#readers) notify();
  }

  /** Changes from the call of this on. Ends without an error when `signal` aborts. */
  read(signal: AbortSignal): AsyncIterable<void> {
    let waits = false;
    let wake = () => {};
    const notify = () => {
      waits = true;
      wake();
    };
    const end = () => {
      this.#readers.delete(notify);
      wake();
    };
    if (!signal.aborted) {
      this.#readers.add(notify);
      signal.addEventListener("abort", end, { once: true });
    }
    async function* items(): AsyncGenerator<void, void, undefined> {
      try {
        while (!signal.aborted) {
          if (waits) {
            waits = false;
            yield;
            continue;
          }
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        signal.removeEventListener("abort", end);
        end();
      }
    }
    return items();
  }
}
