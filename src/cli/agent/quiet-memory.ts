import { YoungGarbage } from "../../layers/young-garbage.ts";
import { releaseMemory } from "../../runtime/host/release-memory.ts";

/** Nothing has happened for so long: what a burst of work has left behind is not needed soon. */
const defaultQuietMs = 10_000;

export type QuietMemoryOptions = {
  readonly quietMs?: number;
  /** Gives memory back; never throws. Default: collects all garbage, and lets go of what can be read from files again. */
  readonly release?: () => void;
};

/** Gives memory back whenever nothing has happened for a while, some tens of milliseconds of work; once until something happens again. */
export class QuietMemory {
  readonly #quietMs: number;
  readonly #release: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor({ quietMs = defaultQuietMs, release = releaseAll }: QuietMemoryOptions = {}) {
    this.#quietMs = quietMs;
    this.#release = release;
  }

  /** Something happens. */
  note(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#release();
    }, this.#quietMs);
    this.#timer.unref();
  }

  /** Nothing is given back that has not been. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

function releaseAll(): void {
  new YoungGarbage().collectAll();
  void releaseMemory();
}
