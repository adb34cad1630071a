/** Time, for an agent that must not mind what clocks say. */
export interface Clock {
  /** Milliseconds of a clock that only goes forward. */
  nowMs(): number;
  /** Unix seconds as the node believes, for people. */
  wallSeconds(): number;
  /** Calls back once after `ms`, unless what comes back is called before. */
  after(ms: number, callback: () => void): () => void;
}

/** Longer timers overflow in Node. */
const longestMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallSeconds: () => Math.max(0, Math.floor(Date.now() / 1000)),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), longestMs));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or when `signal` aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(ms, end);
    signal.addEventListener("abort", end, { once: true });
  });
}
