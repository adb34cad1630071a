import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of buffers after which the young ones are collected. */
const collectEveryBytes = 16 << 20;

type Collect = (options: { readonly type: "minor" | "major" }) => void;

/**
 * Keeps buffers that are thrown away from piling up. V8 sees only the small objects in front of them and lets some 64 MiB of buffers
 * gather in each thread before it collects; one young collection takes well below a millisecond.
 */
export class YoungGarbage {
  readonly #collect: Collect;
  #bytes = 0;

  constructor() {
    setFlagsFromString("--expose-gc");
    // Not that of this context, which is there with --expose-gc from the start: an idle agent then
    // kept 106 MiB in place of 73 (`npm run bench:agent`, idle).
    this.#collect = runInNewContext("gc");
  }

  /** Says that buffers of so many bytes were made. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < collectEveryBytes) return;
    this.#bytes = 0;
    this.#collect({ type: "minor" });
  }

  /** Collects everything, buffers of old objects too: some ten milliseconds, for the end of something large. */
  collectAll(): void {
    this.#collect({ type: "major" });
  }
}
