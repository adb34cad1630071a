import { createInflateRaw } from "node:zlib";
import { YoungGarbage } from "../young-garbage.ts";
import { blocksToBit } from "./bit-prefix.ts";
import type { BitPosition } from "./huffman-block.ts";

export type InflateRest = {
  /** Where the next block begins. */
  readonly position: BitPosition;
  /** What the stream may copy from. */
  readonly history: Uint8Array;
  /** The bytes behind those of `position`. */
  readonly more: () => Promise<Uint8Array | undefined>;
  readonly chunkSize: number;
  readonly signal: AbortSignal;
};

/**
 * The rest of a deflate stream from one of its blocks on, inflated by zlib on a thread of libuv's pool. Returns the bytes behind its end, as far as they
 * have been asked for. Throws errors of zlib, what `more` throws, and the reason of `signal`.
 */
export async function* inflateRest(options: InflateRest): AsyncGenerator<Uint8Array, Uint8Array, undefined> {
  const { history, more, chunkSize, signal } = options;
  const stream = createInflateRaw({ chunkSize, ...(history.length > 0 && { dictionary: history }) });
  const stop = (): void => void stream.destroy(signal.reason);
  signal.addEventListener("abort", stop);
  const garbage = new YoungGarbage();
  let isOver = false;
  let wake = (): void => {};
  const end = (): void => {
    isOver = true;
    wake();
  };
  stream.on("end", end);
  stream.on("close", end);
  /** Behind its end the stream uses nothing, and does not say so. */
  const write = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
      stream.write(bytes, () => resolve());
      if (isOver) resolve();
    });
  let unread: Uint8Array = new Uint8Array(0);
  const feed = async (): Promise<void> => {
    let fedBytes = 0;
    for (let piece: Uint8Array | undefined = aligned(options.position); piece !== undefined; piece = await more()) {
      const bytes = piece;
      fedBytes += bytes.length;
      await write(bytes);
      if (stream.bytesWritten < fedBytes) {
        unread = bytes.subarray(bytes.length - (fedBytes - stream.bytesWritten));
        return;
      }
      if (stream.destroyed) return;
    }
    stream.end();
  };
  const feeding = feed().catch((error: unknown) => {
    stream.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const piece of stream) {
      garbage.add(piece.length);
      yield piece as Uint8Array;
    }
    signal.throwIfAborted();
    await feeding;
    return unread;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", stop);
    stream.destroy();
  }
}

/** The same bits behind blocks without content, so that they begin in the middle of a byte as they did. */
function aligned({ bytes, bit }: BitPosition): Uint8Array {
  const from = bytes.subarray(bit >> 3);
  if (bit % 8 === 0) return from;
  const prefix = blocksToBit(bit % 8);
  const joined = new Uint8Array(prefix.length + from.length - 1);
  joined.set(from, prefix.length - 1);
  joined[prefix.length - 1] = (joined[prefix.length - 1] >> (bit % 8)) << (bit % 8);
  for (let i = 0; i < prefix.length; i++) joined[i] |= prefix[i];
  return joined;
}
