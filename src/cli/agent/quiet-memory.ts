import { YoungGarbage } from "../../layers/young-garbage.ts";
import { releaseMemory } from "../../runtime/host/release-memory.ts";

/** Nothing has happened for so long: what a burst of work has left behind is not needed soon. */
const quietMs = 10_000;

/** Gives memory back whenever nothing has happened for a while, some tens of milliseconds of work; once until something happens again. */
export class QuietMemory {
  #timer: NodeJS.Timeout | undefined;

  /** Something happens. */
  note(): void {
    if (this.#timer !== undefined) {
      this.#timer.refresh();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void release();
    }, quietMs);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

async function release(): Promise<void> {
  new YoungGarbage().collectAll();
  await releaseMemory();
}
