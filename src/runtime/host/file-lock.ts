import { constants } from "node:fs";
import { open } from "node:fs/promises";
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

function tryLock(fd: number): boolean {
  try {
    callHere("flock", fd, lockExclusive | lockNonBlocking);
    return true;
  } catch (error) {
    if (errorCode(error) === "EAGAIN") return false;
    throw error;
  }
}
