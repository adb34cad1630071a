import { constants } from "node:fs";
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { callHere, errorCode } from "./system-calls.ts";

/** include/uapi/asm-generic/fcntl.h. */
const lockExclusive = 2;
const lockNonBlocking = 4;

const pollMs = 20;

/**
 * Waits for the lock (flock(2)) of a file, which is made where it is missing; it goes with the process. Throws the reason of `signal`, or what
 * `open(2)` gives.
 */
export async function lockFile(path: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  try {
    while (!tryLock(handle.fd)) await sleep(pollMs, undefined, { signal });
    signal.throwIfAborted();
  } catch (error) {
    await handle.close();
    throw signal.aborted ? signal.reason : error;
  }
  return { [Symbol.asyncDispose]: () => handle.close() };
}

/** The lock of a file that goes when it is not needed any more. */
export type RemovableLock = AsyncDisposable & {
  /** Removes the file and gives the lock back. */
  remove(): Promise<void>;
};

/**
 * As `lockFile`, where whoever holds the lock may remove the file: what is locked is what lies there. `undefined` at once when somebody else
 * holds it and there is no `signal` to wait with.
 */
export async function lockRemovableFile(path: string, signal: AbortSignal): Promise<RemovableLock>;
export async function lockRemovableFile(path: string): Promise<RemovableLock | undefined>;
export async function lockRemovableFile(path: string, signal?: AbortSignal): Promise<RemovableLock | undefined> {
  for (;;) {
    signal?.throwIfAborted();
    const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    const isLocked = await lockIfThere(handle, path);
    if (isLocked) return removableLock(handle, path);
    await handle.close();
    if (signal === undefined) return undefined;
    await sleep(pollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Whether the file is locked, and is still the one at `path`. */
async function lockIfThere(handle: FileHandle, path: string): Promise<boolean> {
  try {
    if (!tryLock(handle.fd)) return false;
    const [locked, there] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
    return there !== undefined && there.ino === locked.ino && there.dev === locked.dev;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function removableLock(handle: FileHandle, path: string): RemovableLock {
  return {
    async remove() {
      await rm(path, { force: true });
      await handle.close();
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

function tryLock(fd: number): boolean {
  try {
    callHere("flock", fd, lockExclusive | lockNonBlocking);
    return true;
  } catch (error) {
    if (errorCode(error) === "EAGAIN") return false;
    throw error;
  }
}
