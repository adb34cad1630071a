import { setTimeout as sleep } from "node:timers/promises";
import { OciError } from "../../oci/oci-error.ts";
import type { RequestPacer } from "../../oci/registry/request-pacer.ts";
import { TryAgain } from "../../oci/registry/retry.ts";

/** How often one server is asked about tags. */
export type RequestRate = {
  /** In the long run. */
  readonly perSecond: number;
  /** At once, after a pause. */
  readonly burst: number;
};

export type RequestBudgetOptions = {
  readonly rateOf: (server: string) => RequestRate;
  /** Milliseconds, never going back. Default: `performance.now`. */
  readonly now?: () => number;
  /** Default: that of timers. */
  readonly wait?: (delayMs: number, signal: AbortSignal) => Promise<void>;
  /** From 0 to 1. Default: `Math.random`. */
  readonly random?: () => number;
};

type Server = {
  /** Below 0: turns that are promised to those who wait. */
  tokens: number;
  countedAtMs: number;
  heldUntilMs: number;
  /** Limits in a row without a word of how long. */
  limits: number;
};

/** A wait that is not longer is worth it; a longer one is left to the caller. */
const patienceMs = 5000;
const firstHoldMs = 5000;
const longestHoldMs = 5 * 60_000;
/** No server silences us for longer, whatever it asks. */
const maxRetryAfterMs = 60 * 60_000;
/** Of the wait for a turn: those who were sent away together do not come back together. */
const jitter = 0.25;

/**
 * A token bucket per registry server for questions about tags, and one gate per server for everything: while a server has asked to be left
 * alone (429, or `Retry-After`), nothing is asked of it, neither tags nor contents.
 */
export class RequestBudget implements RequestPacer {
  readonly #rateOf: (server: string) => RequestRate;
  readonly #now: () => number;
  readonly #wait: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly #random: () => number;
  readonly #servers = new Map<string, Server>();

  constructor({ rateOf, now, wait, random }: RequestBudgetOptions) {
    this.#rateOf = rateOf;
    this.#now = now ?? (() => performance.now());
    this.#wait = wait ?? waitByTimer;
    this.#random = random ?? Math.random;
  }

  async turn(server: string, kind: "tag" | "content", signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const state = this.#server(server);
    await this.#outlast(server, state, signal);
    if (kind !== "tag") return;
    await this.#takeToken(state, this.#rateOf(server), signal);
    // Another may have met a limit meanwhile.
    await this.#outlast(server, state, signal);
  }

  limited(server: string, retryAfterMs: number | undefined): void {
    const state = this.#server(server);
    const ownMs = Math.min(longestHoldMs, firstHoldMs * 2 ** state.limits) * (1 + jitter * this.#random());
    if (retryAfterMs === undefined) state.limits++;
    const holdMs = retryAfterMs === undefined ? ownMs : Math.min(retryAfterMs, maxRetryAfterMs);
    state.heldUntilMs = Math.max(state.heldUntilMs, this.#now() + holdMs);
  }

  served(server: string): void {
    this.#server(server).limits = 0;
  }

  /** Waits until the server may be asked again, unless that is long. */
  async #outlast(server: string, state: Server, signal: AbortSignal): Promise<void> {
    for (;;) {
      const heldMs = state.heldUntilMs - this.#now();
      if (heldMs <= 0) return;
      if (heldMs > patienceMs) throw new TryAgain(heldBack(server, heldMs), heldMs);
      await this.#wait(heldMs * (1 + jitter * this.#random()), signal);
    }
  }

  async #takeToken(state: Server, { perSecond, burst }: RequestRate, signal: AbortSignal): Promise<void> {
    const now = this.#now();
    state.tokens = Math.min(burst, state.tokens + ((now - state.countedAtMs) / 1000) * perSecond);
    state.countedAtMs = now;
    state.tokens--;
    if (state.tokens >= 0) return;
    const delayMs = (-state.tokens / perSecond) * 1000;
    try {
      await this.#wait(delayMs * (1 + jitter * this.#random()), signal);
    } catch (error) {
      state.tokens++;
      throw error;
    }
  }

  #server(server: string): Server {
    let state = this.#servers.get(server);
    if (!state) {
      const { burst } = this.#rateOf(server);
      state = { tokens: burst, countedAtMs: this.#now(), heldUntilMs: Number.NEGATIVE_INFINITY, limits: 0 };
      this.#servers.set(server, state);
    }
    return state;
  }
}

async function waitByTimer(delayMs: number, signal: AbortSignal): Promise<void> {
  await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
}

function heldBack(server: string, heldMs: number): OciError {
  const seconds = Math.ceil(heldMs / 1000);
  return new OciError(
    "rate-limited",
    `${server} asked not to be asked again for now; it is left alone for ${seconds} s`,
  );
}
