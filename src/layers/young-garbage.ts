import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of buffers after which the young ones are collected. */
const collectEveryBytes = 16 << 20;

type Collect = (options: { readonly type: "minor" | "major" }) => void;

/**
 * V8's garbage collection, which the flag `--expose-gc` puts into each context that is made under it. The flag stands for that moment only:
 * V8 refuses code that was compiled under other flags, Node's own modules among it, which then takes twice as long to load. Flags
 * are those of the process: another thread may take this one away before the context is made.
 */
function exposedCollect(): Collect {
  for (;;) {
    setFlagsFromString("--expose-gc");
    const collect: Collect | undefined = runInNewContext("globalThis.gc");
    setFlagsFromString("--no-expose-gc");
    if (collect !== undefined) return collect;
  }
}

/**
 * Keeps buffers that are thrown away from piling up. V8 sees only the small objects in front of them and lets some 64 MiB of buffers
 * gather in each thread before it collects; one young collection takes well below a millisecond.
 */
export class YoungGarbage {
  #collect: Collect | undefined;
  #bytes = 0;

  /** Says that buffers of so many bytes were made. */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < collectEveryBytes) return;
    this.#bytes = 0;
    this.#run("minor");
  }

  /** Collects everything, buffers of old objects too: some ten milliseconds, for the end of something large. */
  collectAll(): void {
    this.#run("major");
  }

  #run(type: "minor" | "major"): void {
    this.#collect ??= exposedCollect();
    this.#collect({ type });
  }
}
