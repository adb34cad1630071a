import { setTimeout as sleep } from "node:timers/promises";
import type { ChangeQueue } from "../../change-queue.ts";
import type { EngineClient } from "../engine-client.ts";

/** Between two looks at the names while no event comes: what a dead stream swallows is noticed so. */
export const lookIntervalMs = 30_000;

/** The daemon's clock is ours; those events that are told twice cost nothing. */
const overlapSeconds = 2;

/**
 * Tells the names that changed, and `listening` when the events come, until the daemon ends. Docker does not say which name was taken away, so
 * its list is compared with the one before. Always throws.
 */
export async function listen(
  engine: EngineClient,
  queue: ChangeQueue,
  signal: AbortSignal,
  onListening: () => void,
  intervalMs = lookIntervalMs,
): Promise<never> {
  const end = new AbortController();
  const running = AbortSignal.any([signal, end.signal]);
  let wake: () => void = () => {};
  let isTold = false;
  const since = Math.floor(Date.now() / 1000) - overlapSeconds;
  const watching = engine.watchImages(
    since,
    () => {
      isTold = true;
      wake();
    },
    running,
  );
  const looking = async (): Promise<never> => {
    let before: ReadonlyMap<string, string> | undefined;
    for (;;) {
      if (before === undefined && !isTold) {
        await new Promise<void>((resolve, reject) => {
          wake = resolve;
          running.addEventListener("abort", () => reject(running.reason), { once: true });
        });
        continue;
      }
      isTold = false;
      const now = await namesOf(engine, running);
      if (before === undefined) onListening();
      else for (const name of differing(before, now)) queue.push({ type: "changed", name });
      before = now;
      if (isTold) continue;
      const timer = new AbortController();
      wake = () => timer.abort();
      await sleep(intervalMs, undefined, { signal: AbortSignal.any([running, timer.signal]) }).catch(() => {});
      running.throwIfAborted();
    }
  };
  const works = [watching, looking()];
  try {
    return await Promise.race(works);
  } finally {
    end.abort();
    await Promise.allSettled(works);
  }
}

async function namesOf(engine: EngineClient, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const images = await engine.images(signal);
  return new Map(images.flatMap(({ id, tags, digests }) => [...tags, ...digests].map((name) => [name, id] as const)));
}

function differing(before: ReadonlyMap<string, string>, now: ReadonlyMap<string, string>): string[] {
  const names = new Set([...before.keys(), ...now.keys()]);
  return [...names].filter((name) => before.get(name) !== now.get(name));
}
