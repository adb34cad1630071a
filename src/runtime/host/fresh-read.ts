import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import { askStorage } from "./ask-storage.ts";
import { HostError } from "./host-error.ts";
import { callHere } from "./system-calls.ts";

/** include/uapi/linux/fadvise.h. */
const adviceNotNeeded = 4;

/** Storage that is busy answers late; one that takes so long does not. */
const answerMs = 30_000;

/** For one that did not answer when it was asked last. Twice as long each time, as it may only be slow; after all the time that there is, this again. */
const answerAgainMs = 2000;

/** By device and path: how long what was not answered has the next time. */
const unanswered = new Map<string, number>();

/** By device and path: reads that have not been answered. */
const waiting = new Map<string, { readonly settled: Promise<unknown>; isLate: boolean }>();

/** Has the kernel forget what it remembers of a range of a file or device, as far as nobody has it mapped: the next read asks the device. */
export function forgetCached(fd: number, position = 0, length = 0): void {
  callHere("posix_fadvise", fd, BigInt(position), BigInt(length), adviceNotNeeded);
}

/**
 * Reads a file, or the first `maxBytes` of it, from its device and not from what the kernel remembers of it. Throws what `open(2)` and
 * `read(2)` give, and `HostError` `refused` where the device does not answer: it is not asked again until it has, unlike another one that is
 * mounted in its place.
 */
export async function readFresh(
  path: string,
  maxBytes = Number.POSITIVE_INFINITY,
  timeoutMs = answerMs,
): Promise<Buffer> {
  const silent = () => new HostError("refused", `${path} cannot be read: its device does not answer`);
  // That of the folder: the file itself would be asked of the device.
  const device = await stat(dirname(path)).then(
    ({ dev }) => dev,
    () => "unknown",
  );
  const key = `${device} ${path}`;
  for (let before = waiting.get(key); before !== undefined; before = waiting.get(key)) {
    if (before.isLate) throw silent();
    await before.settled;
  }
  const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
  const own = { settled, isLate: false };
  waiting.set(key, own);
  const end = () => {
    waiting.delete(key);
    settle();
  };
  try {
    const here = () => readNow(path, maxBytes);
    const limitMs = Math.min(timeoutMs, unanswered.get(key) ?? timeoutMs);
    const answer = await askStorage({
      here,
      elsewhere: { file: childFile, job: { path, maxBytes } },
      timeoutMs: limitMs,
    });
    if ("unasked" in answer)
      throw new HostError(
        "refused",
        `${path} cannot be read now: too many processes wait for devices that do not answer`,
      );
    if ("value" in answer) {
      unanswered.delete(key);
      const { buffer, byteOffset, byteLength } = answer.value;
      return Buffer.from(buffer, byteOffset, byteLength);
    }
    own.isLate = true;
    unanswered.set(key, limitMs < timeoutMs ? limitMs * 2 : answerAgainMs);
    void answer.silent.then(end);
    throw silent();
  } finally {
    if (own.isLate) settle();
    else end();
  }
}

/** Beside this file, be it a source or the bundle. */
const childFile = new URL(`./fresh-read-child${extname(import.meta.filename)}`, import.meta.url);

/** As `readFresh`, in a thread of the pool, which waits for as long as it takes. */
export async function readNow(path: string, maxBytes: number): Promise<Buffer> {
  await using handle: FileHandle = await open(path, "r");
  forgetCached(handle.fd);
  const { size } = await handle.stat();
  const bytes = Buffer.alloc(Math.min(size, maxBytes));
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
