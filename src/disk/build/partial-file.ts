import { constants } from "node:fs";
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import koffi from "koffi";
import type { RandomAccessOutput } from "../../filesystem/erofs/writer/output.ts";
import { DiskError } from "../disk-error.ts";
import { dropFromPageCache } from "./page-cache.ts";
import { WriteBack } from "./write-back.ts";

const lockExclusive = 2;
const lockNonBlocking = 4;

/** Writes to the file by itself, once the file has been lent to it. */
export interface LentWriter {
  /** Writes to this descriptor until `stop`, and says how much it has written. */
  start(descriptor: number, onWritten: (bytes: number) => void): void;
  /** Resolves when everything that overlaps a range is written; without one, when everything is. Throws what went wrong. */
  settle(position?: number, bytes?: number): Promise<void>;
  /** Resolves when nothing more will be written. May be called twice. */
  stop(): Promise<void>;
}

/**
 * The file in which a disk grows: `.<name>.nodewarm-partial` beside the path it will have, locked (`flock`) while in use. An
 * unlocked one is left over from a build that was killed and is begun anew.
 */
export class PartialFile implements RandomAccessOutput {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #target: string;
  readonly #writeBack = new WriteBack(() => this.#flush());
  #writer: LentWriter | undefined;
  #unreadStart = 0;
  #unreadEnd = 0;

  private constructor(handle: FileHandle, path: string, target: string) {
    this.#handle = handle;
    this.#path = path;
    this.#target = target;
  }

  /** Throws `DiskError` when another build is writing the same disk. */
  static async create(target: string): Promise<PartialFile> {
    const path = join(dirname(target), `.${basename(target)}.nodewarm-partial`);
    for (;;) {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644);
      try {
        if (!lock(handle.fd))
          throw new DiskError(
            "output",
            `${target}: another build is writing it (${path} is locked); wait for it or choose another output`,
          );
        // A build that ended between open and lock has renamed or removed what was opened.
        const [opened, named] = await Promise.all([handle.stat(), stat(path).catch(() => undefined)]);
        if (named !== undefined && named.ino === opened.ino && named.dev === opened.dev) {
          await handle.truncate(0);
          return new PartialFile(handle, path, target);
        }
      } catch (error) {
        await handle.close();
        throw error;
      }
      await handle.close();
    }
  }

  /** Lets `writer` write too, until the file is committed or discarded; reads wait for what it has to write there. */
  lend(writer: LentWriter): void {
    this.#writer = writer;
    writer.start(this.#handle.fd, (bytes) => this.#writeBack.wrote(bytes));
  }

  /** Throws also what went wrong with sending earlier bytes to the disk. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    this.#writeBack.check();
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
    this.#writeBack.wrote(bytes.length);
  }

  /** Sends what is written so far to the disk, in the background. */
  beginSync(): void {
    this.#writeBack.begin();
  }

  /** Says that `start` to `end` will hardly be read before the file is done: the page cache need not keep what is written there. */
  expectNoReads(start: number, end: number): void {
    this.#unreadStart = start;
    this.#unreadEnd = end;
  }

  async #flush(): Promise<void> {
    await this.#handle.datasync();
    await dropFromPageCache(this.#handle.fd, this.#unreadStart, this.#unreadEnd - this.#unreadStart);
  }

  async read(bytes: Uint8Array, position: number): Promise<void> {
    await this.#writer?.settle(position, bytes.length);
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await this.#handle.read(bytes, done, bytes.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    bytes.fill(0, done);
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#handle.truncate(sizeBytes);
  }

  /** Makes the file durable and gives it its name. Throws when any of its bytes did not reach the disk. */
  async commit(): Promise<void> {
    await this.#writer?.settle();
    await this.#writer?.stop();
    await this.#writeBack.stop();
    this.#writeBack.check();
    await this.#handle.sync();
    await rename(this.#path, this.#target);
    await this.#handle.close();
    const directory = await open(dirname(this.#target), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** Removes the file. */
  async discard(): Promise<void> {
    await this.#writer?.stop();
    await this.#writeBack.stop();
    await unlink(this.#path).catch(() => {});
    await this.#handle.close().catch(() => {});
  }
}

/** Takes the lock without waiting; Node has no call for it. */
function lock(fd: number): boolean {
  const flock = koffi.load(null).func("int flock(int fd, int operation)");
  return flock(fd, lockExclusive | lockNonBlocking) === 0;
}
