/** How far back a rate looks: long enough to be calm, short enough to notice a stall. */
const windowMs = 5000;
const sampleMs = 250;

/** Bytes per second over the last five seconds, from a count that only grows. */
export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly bytes: number }[];
  #latest: { readonly atMs: number; readonly bytes: number };

  constructor(nowMs: number, bytes = 0) {
    this.#samples = [{ atMs: nowMs, bytes }];
    this.#latest = this.#samples[0];
  }

  /** `bytes`: all so far. */
  update(bytes: number, nowMs: number): void {
    this.#latest = { atMs: nowMs, bytes };
    const samples = this.#samples;
    if (nowMs - samples[samples.length - 1].atMs >= sampleMs) samples.push(this.#latest);
    // One sample older than the window stays, so that the rate always covers the whole window.
    while (samples.length > 1 && samples[1].atMs <= nowMs - windowMs) samples.shift();
  }

  bytesPerSecond(nowMs: number): number {
    if (this.#latest.atMs <= nowMs - windowMs) return 0;
    const samples = this.#samples;
    let first = 0;
    while (first + 1 < samples.length && samples[first + 1].atMs <= nowMs - windowMs) first += 1;
    const elapsedMs = nowMs - samples[first].atMs;
    return elapsedMs < sampleMs ? 0 : ((this.#latest.bytes - samples[first].bytes) * 1000) / elapsedMs;
  }
}
