import { DiskError } from "../../disk-error.ts";

/** What the system says of reading names no file, and may be taken for an error of the disk that is written. */
export function unreadable(path: string, reason: string, cause?: unknown): DiskError {
  return new DiskError("unreadable", `cannot read the older disk ${path}: ${reason}; build without --from`, { cause });
}

/** Does what reads the older disk at `path`. Throws `DiskError` (`unreadable`) for what the system says. */
export async function readingOld<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof Error && "syscall" in error ? unreadable(path, error.message, error) : error;
  }
}
