import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { callHere, errorCode } from "../host/system-calls.ts";

/** include/uapi/asm-generic/fcntl.h. */
const lockExclusive = 2;
const lockNonBlocking = 4;

const pollMs = 20;

/** Folder of Nodewarm in a data root. Docker leaves it alone. */
export const ownFolder = "nodewarm";

/**
 * Waits until no other program changes what Nodewarm has in this daemon; the lock goes with the process. Throws the reason of the signal,
 * or what `open(2)` gives.
 */
export async function lockDaemon(dataRoot: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const folder = join(dataRoot, ownFolder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const handle = await open(join(folder, "lock"), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
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
