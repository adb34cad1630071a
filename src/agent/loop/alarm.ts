import type { Clock } from "./clock.ts";

/** Folds any number of wishes to be woken into the earliest. */
export class Alarm {
  readonly #clock: Clock;
  #atMs = Number.POSITIVE_INFINITY;
  #cancel = () => {};
  #wake = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Rings at that time, or earlier if somebody wished so. */
  ringAt(atMs: number): void {
    if (atMs >= this.#atMs) return;
    this.#atMs = atMs;
    this.#arm();
  }

  /** Never rings again: a timer would keep the process. */
  stop(): void {
    this.#cancel();
    this.#atMs = Number.NEGATIVE_INFINITY;
  }

  /** Resolves when it rings, or when `signal` aborts; then it is set to nothing. For one waiter. */
  async wait(signal: AbortSignal): Promise<void> {
    const isDue = () => this.#atMs <= this.#clock.nowMs();
    if (!isDue() && !signal.aborted) {
      const ended = Promise.withResolvers<void>();
      this.#wake = () => {
        // Timers may be early by a fraction.
        if (isDue()) ended.resolve();
        else this.#arm(1);
      };
      // One that was early before anybody waited does not come again.
      this.#arm();
      const abort = () => ended.resolve();
      signal.addEventListener("abort", abort, { once: true });
      await ended.promise;
      signal.removeEventListener("abort", abort);
    }
    this.#wake = () => {};
    this.#cancel();
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  #arm(moreMs = 0): void {
    this.#cancel();
    if (!Number.isFinite(this.#atMs)) return;
    this.#cancel = this.#clock.after(this.#atMs - this.#clock.nowMs() + moreMs, () => this.#wake());
  }
}
