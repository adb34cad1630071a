import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { ErofsError } from "./erofs/erofs-error.ts";

/**
 * Bytes that can be read at any position: a file, a block device, a file inside an image.
 * Several reads may run at once.
 */
export interface ByteSource {
  /** What messages call it, such as its path. */
  readonly name: string;
  readonly sizeBytes: number;
  /**
   * Fills `target` with the bytes from `position` on.
   * Throws `ErofsError` `truncated` when there are not as many.
   */
  read(position: number, target: Uint8Array): Promise<void>;
  /** May be called twice. */
  close(): Promise<void>;
}

/** Opens whatever lies at `path`, for `handleSource`. Throws what `open(2)` gives. */
export function openHandle(path: string): Promise<FileHandle> {
  // Without O_NONBLOCK, opening a named pipe would wait for ever.
  return open(path, constants.O_RDONLY | constants.O_NONBLOCK);
}

/**
 * Opens a regular file or block device for reading. Throws `ErofsError` `not-a-file` for anything else, and what
 * `open(2)` gives.
 */
export async function openFileSource(path: string): Promise<ByteSource> {
  const handle = await openHandle(path);
  try {
    return await handleSource(path, handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** As `openFileSource`, over what is open already; `close` closes it. When this throws it stays the caller's. */
export async function handleSource(name: string, handle: FileHandle): Promise<ByteSource> {
  const stat = await handle.stat();
  if (stat.isFile()) return new FileSource(name, handle, stat.size);
  if (stat.isBlockDevice()) return new FileSource(name, handle, await deviceSize(handle));
  throw new ErofsError("not-a-file", `${name} is neither a file nor a block device`);
}

/** `stat` says 0 for devices, and Node has no `lseek`: the end is where reading gives nothing. */
async function deviceSize(handle: FileHandle): Promise<number> {
  const probe = new Uint8Array(1);
  const readable = async (position: number) => (await handle.read(probe, 0, 1, position)).bytesRead === 1;
  let low = 0;
  let high = 4096;
  while (high < 2 ** 52 && (await readable(high))) {
    low = high;
    high *= 2;
  }
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

class FileSource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  #closed = false;

  constructor(name: string, handle: FileHandle, sizeBytes: number) {
    this.name = name;
    this.#handle = handle;
    this.sizeBytes = sizeBytes;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    checkRange(this, position, target.length);
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await this.#handle.read(target, done, target.length - done, position + done);
      if (bytesRead === 0) throw beyondEnd(this, position, target.length);
      done += bytesRead;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}

/** Bytes in memory as a source. */
export class MemorySource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name = "memory") {
    this.name = name;
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    checkRange(this, position, target.length);
    target.set(this.#bytes.subarray(position, position + target.length));
  }

  async close(): Promise<void> {}
}

/** Throws `ErofsError` `truncated` unless `length` bytes lie at `position`. */
export function checkRange(source: ByteSource, position: number, length: number): void {
  if (!(position >= 0 && position + length <= source.sizeBytes)) throw beyondEnd(source, position, length);
}

function beyondEnd(source: ByteSource, position: number, length: number): ErofsError {
  return new ErofsError(
    "truncated",
    `${source.name} ends at byte ${source.sizeBytes}, but ${length} bytes at ${position} are needed`,
  );
}
