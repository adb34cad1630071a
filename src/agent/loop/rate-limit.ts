import { type Clock, pause } from "./clock.ts";

/** Lets bytes pass at a rate that may change at any time. */
export class RateLimit {
  readonly #clock: Clock;
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when `bytes` may pass; at once without a rate. Throws the reason of `signal`. */
  async pass(bytes: number, bytesPerSecond: number | undefined, signal: AbortSignal): Promise<void> {
    if (bytesPerSecond === undefined) return;
    const nowMs = this.#clock.nowMs();
    const startMs = Math.max(nowMs, this.#freeAtMs);
    this.#freeAtMs = startMs + (1000 * bytes) / bytesPerSecond;
    if (startMs > nowMs) await pause(this.#clock, startMs - nowMs, signal);
    // What never came takes no time from others.
    if (signal.aborted) this.#freeAtMs -= (1000 * bytes) / bytesPerSecond;
    signal.throwIfAborted();
  }
}
