import { StorageChildren, type StorageJob } from "./storage-children.ts";
import type { StorageAnswer } from "./storage-protocol.ts";

/**
 * So many threads of the pool may wait for storage at once. One whose device hangs is lost until that answers, and the pool, which all access to
 * files needs, may have as few as four.
 */
const mostThreads = 2;

/** A thread that has waited so long is not counted on any more. */
const lateMs = 1000;

type Held = { isLate: boolean };

const held = new Set<Held>();
const waiting: ((isFree: boolean) => void)[] = [];
const children = new StorageChildren();

type StorageQuestion<T> = {
  /** Asks in threads of the pool, one at a time. */
  readonly here: () => Promise<T>;
  /** Asks the same in a child, for when the threads wait for others. */
  readonly elsewhere: StorageJob;
  /** Counted from its turn. */
  readonly timeoutMs: number;
};

/**
 * Reads what may never be read: a device that hangs keeps each thread that asks it, and no signal ends that. Two threads of the pool ask at
 * most; when they hang, processes do, which are given up. Throws what `here` throws, or why there is no process.
 */
export async function askStorage<T>({ here, elsewhere, timeoutMs }: StorageQuestion<T>): Promise<StorageAnswer<T>> {
  const thread = await takeThread();
  if (thread === undefined) return children.ask<T>(elsewhere, timeoutMs);
  return answerInTime(inThread(thread, here), timeoutMs);
}

/** Whether something that was asked has not answered for a while. */
export function isStorageLate(): boolean {
  return [...held].some(({ isLate }) => isLate);
}

async function answerInTime<T>(asked: Promise<T>, timeoutMs: number): Promise<StorageAnswer<T>> {
  const late = Promise.withResolvers<StorageAnswer<T>>();
  const timer = setTimeout(() => late.resolve({ silent: asked.catch(() => {}), isGivenUp: false }), timeoutMs);
  try {
    return await Promise.race([asked.then((value) => ({ value })), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** When one is free; `undefined` when all hang. */
async function takeThread(): Promise<Held | undefined> {
  while (held.size >= mostThreads) {
    if (areAllLate()) return undefined;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    waiting.push(resolve);
    if (!(await promise)) return undefined;
  }
  return holdThread();
}

function holdThread(): Held {
  const own: Held = { isLate: false };
  held.add(own);
  return own;
}

async function inThread<T>(own: Held, here: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => {
    own.isLate = true;
    if (areAllLate()) for (const resolve of waiting.splice(0)) resolve(false);
  }, lateMs);
  try {
    return await here();
  } finally {
    clearTimeout(timer);
    held.delete(own);
    waiting.shift()?.(true);
  }
}

function areAllLate(): boolean {
  return held.size >= mostThreads && [...held].every(({ isLate }) => isLate);
}
