import { causeText } from "../../oci/oci-error.ts";
import type { Condition } from "../../runtime/runtime.ts";
import { failureDelayMs } from "../decide/back-off.ts";
import { errorFields, type Log } from "../log-line.ts";
import type { Clock } from "./clock.ts";

/** Between two tries, at most: what was wrong may be gone with the next look. */
const longestDelayMs = 30_000;

/** Bears that passes fail by a fault of the agent: it is told, once for each fault, and the next one waits longer and longer. */
export class PassGuard {
  readonly #clock: Clock;
  readonly #log: Log;
  #failures = 0;
  #trouble: Condition | undefined;
  #nextAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Passes that failed since the last that did not. */
  get failures(): number {
    return this.#failures;
  }

  get trouble(): Condition | undefined {
    return this.#trouble;
  }

  /** When the next pass may be. */
  get nextAtMs(): number {
    return this.#nextAtMs;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#trouble = undefined;
    this.#nextAtMs = Number.NEGATIVE_INFINITY;
  }

  failed(error: unknown): void {
    this.#failures += 1;
    const trouble = failedPass(error);
    if (this.#trouble?.message !== trouble.message) this.#log({ event: "pass-failed", fields: errorFields(error) });
    this.#trouble = trouble;
    this.#nextAtMs = this.#clock.nowMs() + Math.min(failureDelayMs(this.#failures), longestDelayMs);
  }

  /** Something has changed that may have been the reason. */
  retry(): void {
    this.#nextAtMs = Number.NEGATIVE_INFINITY;
  }
}

export function failedPass(error: unknown): Condition {
  const message = `the agent failed to decide what is to be done, and tries again: ${causeText(error)}; please report this`;
  return { type: "LoopFailed", message };
}
