import { setTimeout as sleep } from "node:timers/promises";
import { ChangeQueue } from "./change-queue.ts";
import { HostError } from "./host/host-error.ts";
import type { ImageChange } from "./image-keeper.ts";
import { RuntimeError } from "./runtime-error.ts";

export type RetryTimes = { readonly firstRetryMs: number; readonly maxRetryMs: number };

/** Tells changes until the connection breaks: it always throws. Calls `onListening` once nothing is missed any more. */
export type Listener = (queue: ChangeQueue, signal: AbortSignal, onListening: () => void) => Promise<never>;

/**
 * What `listen` tells, again and again, as `ImageKeeper.changes` says it: `lost` once for each `listening`, and longer and longer waits
 * between the tries.
 */
export async function* keepListening(
  listen: Listener,
  signal: AbortSignal,
  times: RetryTimes = { firstRetryMs: 50, maxRetryMs: 5000 },
): AsyncGenerator<ImageChange, void, undefined> {
  const queue = new ChangeQueue();
  const end = new AbortController();
  const running = AbortSignal.any([signal, end.signal]);
  // Events are taken in while the reader is busy: a daemon would keep them in its memory.
  const listening = listenAgain(listen, queue, running, times).then(
    () => queue.end(),
    (error) => queue.fail(error),
  );
  try {
    yield* queue.read(signal);
  } finally {
    end.abort();
    await listening;
  }
}

async function listenAgain(
  listen: Listener,
  queue: ChangeQueue,
  signal: AbortSignal,
  times: RetryTimes,
): Promise<void> {
  let retryMs = times.firstRetryMs;
  let isLost = false;
  while (!signal.aborted) {
    try {
      await listen(queue, signal, () => {
        retryMs = times.firstRetryMs;
        isLost = false;
        queue.push({ type: "listening" });
      });
    } catch (error) {
      if (signal.aborted) return;
      if (!isFromOutside(error)) throw error;
      if (!isLost) queue.push({ type: "lost", message: error.message });
      isLost = true;
    }
    await sleep(retryMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
    retryMs = Math.min(retryMs * 2, times.maxRetryMs);
  }
}

/** What a daemon and the host may do to us, while it comes and goes; anything else is a mistake of ours. */
function isFromOutside(error: unknown): error is Error {
  return error instanceof RuntimeError || error instanceof HostError || (error instanceof Error && "errno" in error);
}
