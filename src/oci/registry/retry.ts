import { setTimeout as sleep } from "node:timers/promises";

export type RetryPolicy = {
  readonly maxRetries: number;
  /** Wait before the first retry; doubles with each, up to `maxDelayMs`. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** Longest wait that a server can ask for. */
  readonly maxRetryAfterMs: number;
  /** Where a server asks for more, no attempt follows. Default: there is always one. */
  readonly givesUpBeyondMs?: number;
  /** Told before each attempt but the first. */
  readonly onRetry?: () => void;
};

/** An attempt failed in a way that another may not. */
export class TryAgain extends Error {
  /** What to throw when no attempt is left. */
  readonly failure: Error;
  readonly retryAfterMs: number | undefined;

  constructor(failure: Error, retryAfterMs?: number) {
    super(failure.message, { cause: failure });
    this.failure = failure;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Counts the attempts of one piece of work. */
export class Attempts {
  readonly #policy: RetryPolicy;
  #failed = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** Work has come forward: counting starts again. */
  progress(): void {
    this.#failed = 0;
  }

  /** Waits before the next attempt; throws when `error` is final or no attempt is left. */
  async waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!(error instanceof TryAgain)) throw error;
    const { maxRetries, givesUpBeyondMs = Number.POSITIVE_INFINITY } = this.#policy;
    if (this.#failed >= maxRetries || (error.retryAfterMs ?? 0) > givesUpBeyondMs) throw error.failure;
    const delay = delayMs(this.#policy, this.#failed, error.retryAfterMs, Math.random());
    this.#failed++;
    await sleep(delay, undefined, { signal }).catch(() => signal.throwIfAborted());
    this.#policy.onRetry?.();
  }
}

/** Runs `work` until it succeeds, fails for good or has no attempt left. */
export async function withRetries<T>(policy: RetryPolicy, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const attempts = new Attempts(policy);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await attempts.waitAfter(error, signal);
    }
  }
}

/** Exponential with jitter (`random` from 0 to 1: half to whole), never shorter than what the server asks for within bounds. */
export function delayMs(policy: RetryPolicy, failed: number, retryAfterMs: number | undefined, random: number): number {
  const backOff = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** failed) * (0.5 + random / 2);
  return Math.max(backOff, Math.min(retryAfterMs ?? 0, policy.maxRetryAfterMs));
}

/** `Retry-After` (RFC 9110, 10.2.3): whole seconds or an HTTP date, as milliseconds from `nowMs`. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header.trim()) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
