import { constants } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { ByteRange } from "../../../oci/resolved-image.ts";
import { lockRemovableFile, type RemovableLock } from "../../host/file-lock.ts";
import { RangeSet } from "./range-set.ts";
import { type SpoolPaths, spoolPaths } from "./spool.ts";

/** So much may come again after a program was killed. */
const notedEveryBytes = 8 << 20;

/**
 * A blob on its way, in two files: its bytes, each where it belongs, and a list of which have come. The list is for programs that were killed;
 * after a power cut it may promise more than there is, so what comes of it is to be verified, and fetched anew when it is wrong.
 */
export class SpoolBlob {
  readonly path: string;
  readonly sizeBytes: number;
  /** Bytes that an earlier fetch left. */
  resumedBytes: number;
  readonly #paths: SpoolPaths;
  readonly #lock: RemovableLock;
  readonly #data: FileHandle;
  readonly #list: FileHandle;
  readonly #there = new RangeSet();
  readonly #unnoted = new RangeSet();
  #noting: Promise<void> = Promise.resolve();

  private constructor(
    paths: SpoolPaths,
    sizeBytes: number,
    lock: RemovableLock,
    handles: { readonly data: FileHandle; readonly list: FileHandle },
  ) {
    this.path = paths.data;
    this.sizeBytes = sizeBytes;
    this.resumedBytes = 0;
    this.#paths = paths;
    this.#lock = lock;
    this.#data = handles.data;
    this.#list = handles.list;
  }

  /** Waits until nobody else works on the blob. Throws the reason of `signal`, or what `node:fs` gives. */
  static async open(spool: string, { digest, size }: Descriptor, signal: AbortSignal): Promise<SpoolBlob> {
    await using stack = new AsyncDisposableStack();
    const paths = spoolPaths(spool, digest);
    const lock = stack.use(await lockRemovableFile(paths.ranges, signal));
    const list = stack.use(await open(paths.ranges, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_APPEND));
    const data = stack.use(await openData(paths.data));
    const blob = new SpoolBlob(paths, size, lock, { data, list });
    await blob.#readList();
    stack.move();
    return blob;
  }

  /** Bytes from the beginning without a gap. */
  get prefixBytes(): number {
    return this.#there.prefixBytes;
  }

  /** What is still to come, in order, in pieces of at most `mostBytes`. */
  missing(mostBytes: number): ByteRange[] {
    return this.#there.gaps(this.sizeBytes, mostBytes);
  }

  /** How many of the bytes were not there. Throws what `write(2)` gives. */
  async write(offset: number, bytes: Uint8Array): Promise<number> {
    for (let done = 0; done < bytes.length; )
      done += (await this.#data.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
    const added = this.#there.add(offset, offset + bytes.length);
    this.#unnoted.add(offset, offset + bytes.length);
    if (this.#unnoted.totalBytes >= notedEveryBytes) await this.#note();
    return added;
  }

  /** Forgets all bytes. */
  async startOver(): Promise<void> {
    await this.#data.truncate(0);
    await this.#list.truncate(0);
    this.#there.clear();
    this.#unnoted.clear();
    this.resumedBytes = 0;
    await this.#list.write(`size ${this.sizeBytes}\n`);
  }

  /** Makes the bytes durable, and the file as containerd makes its blobs. */
  async seal(): Promise<void> {
    await this.#data.truncate(this.sizeBytes);
    await this.#data.chmod(0o444);
    await this.#data.sync();
  }

  /** The bytes, from the first to the last. */
  async *read(pieceBytes: number): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafe(pieceBytes);
    for (let offset = 0; offset < this.sizeBytes; ) {
      const { bytesRead } = await this.#data.read(buffer, 0, pieceBytes, offset);
      if (bytesRead === 0) throw new Error(`${this.path} was cut off while it was read`);
      yield buffer.subarray(0, bytesRead);
      offset += bytesRead;
    }
  }

  /** `keep`: what has come is for the next one. */
  async close(how: "keep" | "remove"): Promise<void> {
    const isKept = how === "keep" && this.#there.totalBytes > 0;
    if (isKept) await this.#note().catch(() => {});
    else await rm(this.#paths.data, { force: true });
    await Promise.all([this.#data.close(), this.#list.close()]);
    if (isKept) await this.#lock[Symbol.asyncDispose]();
    else await this.#lock.remove();
  }

  /** Writes down what has come since the last time. */
  async #note(): Promise<void> {
    const lines = this.#unnoted.spans.map(({ start, end }) => `${start} ${end}\n`).join("");
    this.#unnoted.clear();
    if (lines === "") return;
    this.#noting = this.#noting.then(async () => void (await this.#list.write(lines)));
    await this.#noting;
  }

  async #readList(): Promise<void> {
    const [first, ...lines] = (await this.#list.readFile("utf8")).split("\n");
    if (first !== `size ${this.sizeBytes}`) {
      await this.startOver();
      return;
    }
    const { size } = await this.#data.stat();
    // The last line may have been cut off: what follows the last line feed is none.
    for (const line of lines.slice(0, -1)) {
      const [start = Number.NaN, end = Number.NaN] = line.split(" ").map(Number);
      if (start >= 0 && end <= Math.min(size, this.sizeBytes)) this.#there.add(start, end);
    }
    this.resumedBytes = this.#there.totalBytes;
  }
}

/** A file that is in the content store already, under its other name, is never written to. */
async function openData(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const handle = await open(path, flags, 0o600);
  if ((await handle.stat()).nlink === 1) return handle;
  await handle.close();
  await rm(path);
  return open(path, flags | constants.O_EXCL, 0o600);
}
