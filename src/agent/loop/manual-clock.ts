import type { Clock } from "./clock.ts";

/** A clock that stands until it is told to go, for tests: a day takes a moment. */
export class ManualClock implements Clock {
  readonly #timers = new Map<number, { readonly atMs: number; readonly callback: () => void }>();
  #nowMs = 0;
  #count = 0;
  /** What the node believes, apart from the rest. */
  wall = 1_700_000_000;

  nowMs(): number {
    return this.#nowMs;
  }

  wallSeconds(): number {
    return this.wall;
  }

  after(ms: number, callback: () => void): () => void {
    const id = this.#count++;
    this.#timers.set(id, { atMs: this.#nowMs + Math.max(0, ms), callback });
    return () => this.#timers.delete(id);
  }

  /** Goes on by `ms`, from timer to timer. `settle` is awaited after each: what it woke is done then. */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const [id, next] = [...this.#timers].sort(([, a], [, b]) => a.atMs - b.atMs)[0] ?? [];
      if (id === undefined || next === undefined || next.atMs > endMs) break;
      this.#timers.delete(id);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
      await settle();
    }
    this.#nowMs = endMs;
  }
}
