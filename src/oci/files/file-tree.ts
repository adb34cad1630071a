import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { causeText, OciError } from "../oci-error.ts";
import type { ByteRange } from "../resolved-image.ts";

/** Files that are read where they are: in a folder or inside an archive. */
export interface FileTree {
  /** The folder or archive, for messages. */
  readonly path: string;
  /** The file at `path` (slashes between names), or `undefined` when there is none. Throws `OciError`. */
  open(path: string): Promise<OpenFile | undefined>;
  close(): Promise<void>;
}

export interface OpenFile {
  readonly size: number;
  /** All bytes from the first to the last, or those of `range`. Throws `OciError` when there are fewer than `size`. */
  read(signal: AbortSignal, range?: ByteRange): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const pieceBytes = 256 << 10;

/** `length` bytes from `offset` on, in pieces that the caller may keep. Throws `OciError`. */
export async function* readRange(
  handle: FileHandle,
  path: string,
  offset: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < length; ) {
    signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, length - done));
    const bytesRead = await readAt(handle, path, buffer, offset + done);
    if (bytesRead === 0) {
      throw new OciError(
        "transfer-broken",
        `${path} ended after ${done} of ${length} bytes; did it change while it was read?`,
      );
    }
    done += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Like `FileHandle.read`, with errors that name the file. */
export async function readAt(handle: FileHandle, path: string, buffer: Buffer, offset: number): Promise<number> {
  try {
    return (await handle.read(buffer, 0, buffer.length, offset)).bytesRead;
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Opens a regular file; `undefined` when it is not there. Throws `OciError`. */
export async function openRegularFile(path: string): Promise<{ handle: FileHandle; size: number } | undefined> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw unreadable(path, error);
  }
  const stats = await handle.stat();
  if (stats.isFile()) return { handle, size: stats.size };
  await handle.close();
  throw new OciError("file-unreadable", `${path} is not a regular file`);
}

function unreadable(path: string, error: unknown): OciError {
  return new OciError("file-unreadable", `Cannot read ${path}: ${causeText(error)}`, { cause: error });
}

/** The files of a folder. */
export class DirectoryTree implements FileTree {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async open(path: string): Promise<OpenFile | undefined> {
    const full = join(this.path, path);
    const file = await openRegularFile(full);
    return (
      file && {
        size: file.size,
        read: (signal, range) => readRange(file.handle, full, range?.offset ?? 0, range?.length ?? file.size, signal),
        close: () => file.handle.close(),
      }
    );
  }

  async close(): Promise<void> {}
}
