import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { AgentError } from "../agent-error.ts";
import type { SeenDisk } from "../state/agent-state.ts";
import type { Candidate } from "./disk-candidates.ts";
import { deviceStamp, fileStamp, sameStamp } from "./disk-stamp.ts";
import { fileRefusal, writersOf } from "./trusted-path.ts";

/** A file is open for writing: it will be taken later. */
export class BusyFileError extends AgentError {}

/** A named pipe would wait for its other end. */
export const readOnlyFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Opens a candidate for reading if it still is what `stamp` says: all that was looked at by its name is looked at once more at the
 * descriptor. Throws `AgentError` `not-trusted`, `BusyFileError` while somebody writes, and what `open(2)` gives.
 */
export async function openSame(path: string, kind: "file" | "device", stamp: SeenDisk): Promise<FileHandle> {
  const handle = await open(path, readOnlyFlags);
  try {
    const stats = await handle.stat({ bigint: true });
    const isKind = kind === "file" ? stats.isFile() : stats.isBlockDevice();
    const now = isKind && (kind === "file" ? fileStamp(path, stats) : await deviceStamp(path, stats));
    if (now === false || !sameStamp(now, stamp))
      throw new AgentError("not-trusted", `${path} has changed since it was looked at; it is looked at again`);
    if (kind === "file") {
      const refusal = fileRefusal(path, stats);
      if (refusal !== undefined) throw new AgentError("not-trusted", refusal);
      const { isBusy, why } = writersOf(path, handle);
      if (isBusy) throw new BusyFileError("not-trusted", why);
      if (why !== "") throw new AgentError("not-trusted", why);
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Whether somebody writes a file; growing all the while, it is not what a stamp of it says. */
export async function isBeingWritten({ path, stamp, refusal }: Candidate): Promise<boolean> {
  if (stamp === undefined || refusal !== undefined) return false;
  try {
    const handle = await openSame(path, "file", stamp);
    await handle.close();
    return false;
  } catch (error) {
    return error instanceof BusyFileError;
  }
}
