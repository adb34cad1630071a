import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { lockFile } from "../host/file-lock.ts";

/** Folder of Nodewarm in a data root. Docker leaves it alone. */
export const ownFolder = "nodewarm";

/**
 * Waits until no other program changes what Nodewarm has in this daemon; the lock goes with the process. Throws the reason of the signal,
 * or what `open(2)` gives.
 */
export async function lockDaemon(dataRoot: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const folder = join(dataRoot, ownFolder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return lockFile(join(folder, "lock"), signal);
}
