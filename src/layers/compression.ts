import { createGunzip, createZstdDecompress } from "node:zlib";
import { isSharedPiece } from "../oci/piece-buffers.ts";
import { untilAborted } from "../oci/until-aborted.ts";
import { inflateStored, probeStoredGzip } from "./deflate/stored-gzip.ts";
import { corruptCompression as corrupt, LayerError } from "./layer-error.ts";
import { YoungGarbage } from "./young-garbage.ts";
import { wholeZstdFrames } from "./zstd-frames.ts";

export type Compression = "gzip" | "zstd" | "none";

/** Sizes measured: larger output buffers do not make it faster, smaller ones do make it slower. */
const outputBytes = 256 * 2 ** 10;
const magicBytes = 8;
/**
 * Shorter gzip streams are zlib's, also where their content does not compress: V8 first has to warm up for what copies that here, which
 * pays for layers of 25 MB (syn/100mb-4 of `npm run bench:build`) and not for those of 2.5 MB (syn/10mb-4).
 */
export const storedFromBytes: number = 16 << 20;

/**
 * What a layer's first bytes say (8 where there are as many), as containerd tells it: gzip with deflate, a zstd frame, a skippable frame
 * before one, or else none. Throws `LayerError` for what is compressed in another way.
 */
export function detectCompression(start: Uint8Array): Compression {
  const bytes = Buffer.from(start);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b && bytes[2] === 8) return "gzip";
  if (bytes.length >= 4 && bytes.readUInt32LE(0) === 0xfd2f_b528) return "zstd";
  if (bytes.length >= 8 && (bytes.readUInt32LE(0) & 0xffff_fff0) >>> 0 === 0x184d_2a50) return "zstd";
  const other = others.find(({ magic }) => bytes.subarray(0, magic.length).equals(magic));
  if (other !== undefined)
    throw new LayerError(
      "corrupt-compression",
      `the layer is compressed with ${other.name}; only gzip and zstd are known`,
    );
  return "none";
}

const others = [
  { name: "xz", magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]) },
  { name: "bzip2", magic: Buffer.from("BZh") },
];

export type DecompressOptions = {
  /** Of the descriptor. The bytes decide; only encrypted layers are refused by it. */
  readonly mediaType: string;
  /** Of the descriptor. */
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
};

/**
 * The uncompressed bytes of a layer. Inflating runs on a thread of libuv's pool while the caller works on the piece before. Several gzip
 * members or zstd frames count as one stream; zeros may follow the last gzip member, nothing else.
 *
 * Each piece of `input` may be looked at until `inputsHeld` more have been asked for; each that is given, until the next is asked for.
 *
 * Throws `LayerError` ("corrupt-compression") when the stream is damaged, cut short or followed by other bytes, what `input` throws, and
 * the reason of `signal`.
 */
export async function* decompress(
  input: AsyncIterable<Uint8Array>,
  { mediaType, sizeBytes, signal }: DecompressOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (mediaType.endsWith("+encrypted"))
    throw new LayerError("corrupt-compression", `the layer is encrypted (${mediaType}), which cannot be read`);
  signal.throwIfAborted();
  const iterator = input[Symbol.asyncIterator]();
  const start: Uint8Array[] = [];
  let startBytes = 0;
  while (startBytes < magicBytes) {
    const next = await iterator.next();
    if (next.done) break;
    start.push(next.value);
    startBytes += next.value.length;
  }
  const magic = start.length === 1 ? start[0] : Buffer.concat(start);
  const rest = rejoin(magic, iterator);
  switch (detectCompression(magic.subarray(0, magicBytes))) {
    case "none": {
      const garbage = new YoungGarbage();
      for await (const piece of rest) {
        signal.throwIfAborted();
        if (!isSharedPiece(piece)) garbage.add(piece.length);
        yield piece;
      }
      return;
    }
    case "gzip":
      yield* sizeBytes < storedFromBytes ? inflateGzip(rest, signal) : gunzip(rest, magic, signal);
      return;
    case "zstd":
      yield* inflate(
        wholeZstdFrames(rest),
        createZstdDecompress({ chunkSize: outputBytes, ...streamOptions }),
        signal,
        "zstd",
        // Of pieces that are given in parts, or not at all, counting the parts says little.
        1,
      );
  }
}

/**
 * Pieces of input that the stream may hold: it goes on with the second one by itself, before whoever reads gets to work on what the first
 * one gave and keeps the thread busy.
 */
export const inputsHeld = 2;

/** Pieces of output that may wait. They are handed on one by one: by bytes, all that wait would be copied into one. */
const outputAhead = 3;

// The types of node:zlib leave these out, but they reach the stream.
const streamOptions = {
  readableObjectMode: true,
  readableHighWaterMark: outputAhead,
};

function inflateGzip(input: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  return inflate(input, createGunzip({ chunkSize: outputBytes, ...streamOptions }), signal, "gzip", inputsHeld);
}

/** `start` is the first piece of `input`. */
async function* gunzip(
  input: AsyncGenerator<Uint8Array>,
  start: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let rest = input;
  const stored = probeStoredGzip(start);
  if (stored !== undefined) {
    const abortable = endedBy(signal, input);
    let behind: Uint8Array | undefined;
    try {
      behind = yield* inflateStored(abortable, stored, signal);
    } catch (error) {
      throw error instanceof Error && "errno" in error && "code" in error && String(error.code).startsWith("Z_")
        ? corrupt("gzip", reasonOf(error), error)
        : error;
    } finally {
      // Also when who reads wants no more.
      if (behind === undefined) void abortable.return(undefined);
    }
    rest = rejoin(behind, abortable);
    const first = await firstPiece(rest);
    if (first === undefined) return;
    rest = rejoin(first, rest);
    // Another member, or zeros.
    if (first[0] === 0) return await readZeros(rest);
  }
  yield* inflateGzip(rest, signal);
}

async function firstPiece(input: AsyncGenerator<Uint8Array>): Promise<Uint8Array | undefined> {
  for (let next = await input.next(); !next.done; next = await input.next())
    if (next.value.length > 0) return next.value;
  return undefined;
}

async function readZeros(input: AsyncGenerator<Uint8Array>): Promise<void> {
  for await (const piece of input)
    if (trailingZeros(piece, 0) < piece.length) throw corrupt("gzip", "other bytes follow its end");
}

/** `input`, until the signal aborts: an input that hangs must not hold up what is aborted. */
async function* endedBy(signal: AbortSignal, input: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      const next = await untilAborted(input.next(), signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    void input.return(undefined);
  }
}

async function* rejoin(start: Uint8Array, iterator: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (start.length > 0) yield start;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  } finally {
    // Not awaited: an input that hangs must not hold up what failed.
    void iterator.return?.()?.then(undefined, () => {});
  }
}

type Inflater = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

async function* inflate(
  input: AsyncIterable<Uint8Array>,
  stream: Inflater,
  signal: AbortSignal,
  name: string,
  mostHeld: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const garbage = new YoungGarbage();
  let failure: unknown;
  let fedBytes = 0;
  /** How many of the last bytes fed are zeros in a row. */
  let zeroBytes = 0;
  let ended = false;
  let held = 0;
  let released: (() => void) | undefined;
  const wake = () => {
    released?.();
    released = undefined;
  };
  const release = () => {
    held--;
    wake();
  };
  const stop = () => stream.destroy(signal.reason);
  signal.addEventListener("abort", stop);
  stream.on("close", wake);
  stream.on("end", () => {
    ended = true;
    wake();
  });

  const feed = async () => {
    try {
      for await (const piece of input) {
        if (stream.destroyed && !ended) return;
        fedBytes += piece.length;
        zeroBytes = trailingZeros(piece, zeroBytes);
        if (ended) continue;
        held++;
        stream.write(piece, release);
        while (held >= mostHeld && !ended && !stream.destroyed)
          await new Promise<void>((resolve) => {
            released = resolve;
          });
      }
      if (!ended) stream.end();
    } catch (error) {
      failure = error;
      stream.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const feeding = feed();
  try {
    for await (const piece of stream) {
      if (signal.aborted) break;
      garbage.add(piece.length);
      yield piece as Uint8Array;
    }
    signal.throwIfAborted();
    await feeding;
    if (failure !== undefined) throw failure;
    if (fedBytes - stream.bytesWritten > zeroBytes) throw corrupt(name, "other bytes follow its end");
  } catch (error) {
    signal.throwIfAborted();
    if (failure !== undefined) throw failure;
    throw error instanceof LayerError ? error : corrupt(name, reasonOf(error), error);
  } finally {
    signal.removeEventListener("abort", stop);
    stream.destroy();
  }
}

function trailingZeros(piece: Uint8Array, before: number): number {
  let at = piece.length;
  while (at > 0 && piece[at - 1] === 0) at--;
  return at === 0 ? before + piece.length : piece.length - at;
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (message === "unexpected end of file") return "it is cut short";
  return message === "stream.push() after EOF" ? "other bytes follow its end" : message;
}
