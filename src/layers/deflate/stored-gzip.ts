import { isSharedPiece } from "../../oci/piece-buffers.ts";
import { corruptCompression } from "../layer-error.ts";
import { YoungGarbage } from "../young-garbage.ts";
import { type DecodedBlock, decodeHuffmanBlock } from "./huffman-block.ts";
import { inflateRest } from "./inflate-rest.ts";
import { OutputWindow, windowBytes } from "./output-window.ts";

/** Blocks that may come before the first stored one, for a stream to be worth this: the head of a tar is never stored. */
const blocksToStored = 2;
/** What they may decode to, which takes well below a millisecond: what compresses well fills it with the first one. */
const probeBytes = 64 << 10;
/** Decoded bytes that are paid by each byte that was stored; zlib is faster at decoding. */
const decodedShare = 1 / 16;
const decodedBytesFree = 1 << 20;
/** What the tables of a block cost beside what it decodes to: blocks may be of a few bytes. */
const bytesPerBlock = 4 << 10;

/** So much input is looked at in one piece at most: positions are 32-bit numbers of bits. */
const mostInputBytes = 16 << 20;

const blockType = { stored: 0, fixed: 1, dynamic: 2 } as const;

/** What comes before the first stored block of a gzip stream: where the block begins, and the output so far. */
type StoredStart = { readonly bit: number; readonly output: Uint8Array; readonly decodedBytes: number };

/**
 * What comes before the first stored block of a gzip stream that begins with `start`. `undefined` unless there soon is one, as in
 * streams whose content does not compress.
 */
export function probeStoredGzip(start: Uint8Array): StoredStart | undefined {
  const header = gzipHeaderBytes(start);
  if (header === undefined) return undefined;
  try {
    return decodeToStored(start, 8 * header);
  } catch {
    // Zlib shall say what is wrong with it.
    return undefined;
  }
}

function decodeToStored(start: Uint8Array, firstBit: number): StoredStart | undefined {
  const out = new Uint8Array(probeBytes);
  let end = 0;
  let bit = firstBit;
  for (let blocks = 0; blocks <= blocksToStored; blocks++) {
    const block = readBlockHeader(start, bit);
    if (block === undefined || block.isLast) return undefined;
    if (block.type === blockType.stored)
      return { bit, output: out.subarray(0, end), decodedBytes: end + blocks * bytesPerBlock };
    const decoded = decodeHuffmanBlock(block.type, { bytes: start, bit: block.bit }, out, end, 0);
    if (decoded.outcome !== "done") return undefined;
    ({ bit, end } = decoded);
  }
  return undefined;
}

/**
 * The uncompressed bytes of the gzip stream's first member, of which `start` is what `probeStoredGzip` says of the first piece:
 * stored blocks are copied where they lie, which saves handing them to zlib's thread and back. Blocks between them are decoded
 * here; where they become many, zlib takes the rest. Each piece may be looked at until the next one is asked for. Returns what of the
 * input, as far as it was asked for, lies behind the member.
 *
 * Throws `LayerError` ("corrupt-compression"), what `input` throws, and the reason of `signal`; `input` ends with it, too, and is
 * not closed.
 */
export async function* inflateStored(
  input: AsyncIterator<Uint8Array>,
  start: StoredStart,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, Uint8Array, undefined> {
  const window = new OutputWindow();
  const garbage = new YoungGarbage();
  let bytes: Uint8Array = new Uint8Array(0);
  let bit = 0;
  let ahead: Uint8Array = new Uint8Array(0);
  const more = async (): Promise<Uint8Array | undefined> => {
    if (ahead.length === 0) {
      const next = await input.next();
      if (next.done) return undefined;
      ahead = next.value;
      if (!isSharedPiece(ahead)) garbage.add(ahead.length);
    }
    const piece = ahead.subarray(0, mostInputBytes);
    ahead = ahead.subarray(piece.length);
    return piece;
  };
  /** More input behind what is left of `bytes`. */
  const extend = async (): Promise<void> => {
    const rest = bytes.subarray(bit >> 3);
    const next = (await more()) ?? fail("it is cut short");
    bytes = rest.length === 0 ? next : Buffer.concat([rest, next]);
    if (rest.length > 0) garbage.add(bytes.length);
    bit &= 7;
  };
  await extend();
  bit = start.bit;
  window.put(start.output);
  let decodedBytes = start.decodedBytes;
  let storedBytes = 0;
  for (let isLast = false; !isLast; ) {
    const block = readBlockHeader(bytes, bit);
    if (block === undefined) {
      await extend();
      continue;
    }
    if (block.type === blockType.stored) {
      bit = block.bit;
      storedBytes += block.sizeBytes;
      for (let left = block.sizeBytes; left > 0; ) {
        if (bit === 8 * bytes.length) await extend();
        const part = bytes.subarray(bit >> 3, (bit >> 3) + Math.min(left, window.room));
        window.put(part);
        bit += 8 * part.length;
        left -= part.length;
        if (window.room === 0) yield window.take();
      }
      isLast = block.isLast;
      continue;
    }
    const decoded = decode(bytes, block, window);
    if (decoded.outcome === "invalid") fail(decoded.reason);
    if (decoded.outcome === "done") {
      decodedBytes += bytesPerBlock + decoded.end - window.end;
      window.moveEnd(decoded.end);
      bit = decoded.bit;
      isLast = block.isLast;
    }
    const isTooLong = decoded.outcome === "room" && window.isEmpty;
    if (decoded.outcome === "input" && bytes.length - (bit >> 3) < windowBytes) await extend();
    else if (decoded.outcome === "room" && !window.isEmpty) yield window.take();
    else if (
      !isLast &&
      (isTooLong || decoded.outcome === "input" || decodedBytes > decodedBytesFree + storedBytes * decodedShare)
    ) {
      if (!window.isEmpty) yield window.take();
      const { history } = window;
      const rest = inflateRest({ position: { bytes, bit }, history, more, chunkSize: windowBytes, signal });
      bytes = yield* counted(rest, window);
      bit = 0;
      break;
    }
  }
  if (!window.isEmpty) yield window.take();
  bit = 8 * Math.ceil(bit / 8);
  while (8 * bytes.length - bit < 64) await extend();
  const trailer = Buffer.from(bytes.buffer, bytes.byteOffset + (bit >> 3), 8);
  if (trailer.readUInt32LE(0) !== window.crc) fail("incorrect data check");
  if (trailer.readUInt32LE(4) !== window.sizeBytes % 2 ** 32) fail("incorrect length check");
  // What is ahead has been asked for as well.
  return Buffer.concat([bytes.subarray((bit >> 3) + 8), ahead]);
}

async function* counted(
  pieces: AsyncGenerator<Uint8Array, Uint8Array, undefined>,
  window: OutputWindow,
): AsyncGenerator<Uint8Array, Uint8Array, undefined> {
  try {
    for (;;) {
      const next = await pieces.next();
      if (next.done) return next.value;
      window.count(next.value);
      yield next.value;
    }
  } finally {
    await pieces.return(new Uint8Array(0));
  }
}

function fail(reason: string): never {
  throw corruptCompression("gzip", reason);
}

type BlockHeader = { readonly isLast: boolean /** Behind the header. */; readonly bit: number } & (
  | { readonly type: 0; readonly sizeBytes: number }
  | { readonly type: 1 | 2 }
);

/** The header of the block at `bit` (RFC 1951, 3.2.3 and 3.2.4), or `undefined` where the input ends within it. */
function readBlockHeader(bytes: Uint8Array, bit: number): BlockHeader | undefined {
  const at = bit >> 3;
  if (bit + 3 > 8 * bytes.length) return undefined;
  const bits = ((bytes[at] | ((bytes[at + 1] ?? 0) << 8)) >> (bit & 7)) & 7;
  const isLast = (bits & 1) === 1;
  const type = bits >> 1;
  if (type === 1 || type === 2) return { isLast, type, bit: bit + 3 };
  if (type === 3) fail("invalid block type");
  const size = Math.ceil((bit + 3) / 8);
  if (size + 4 > bytes.length) return undefined;
  const sizeBytes = bytes[size] | (bytes[size + 1] << 8);
  if ((sizeBytes ^ (bytes[size + 2] | (bytes[size + 3] << 8))) !== 0xffff) fail("invalid stored block lengths");
  return { isLast, type: 0, sizeBytes, bit: 8 * (size + 4) };
}

function decode(bytes: Uint8Array, block: BlockHeader & { readonly type: 1 | 2 }, window: OutputWindow): DecodedBlock {
  const { type, bit } = block;
  return decodeHuffmanBlock(type, { bytes, bit }, window.buffer, window.end, window.historyStart);
}

const flag = { extra: 4, name: 8, comment: 16 } as const;

/** Bytes of the gzip header that `bytes` begins with (RFC 1952, 2.3); `undefined` where it is not all there, or has what is left to zlib. */
function gzipHeaderBytes(bytes: Uint8Array): number | undefined {
  const flags = bytes[3];
  if (bytes.length < 10 || bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[2] !== 8) return undefined;
  if ((flags & ~(1 | flag.extra | flag.name | flag.comment)) !== 0) return undefined;
  let at = 10;
  if ((flags & flag.extra) !== 0) at += 2 + (bytes[at] | (bytes[at + 1] << 8));
  for (const text of [flag.name, flag.comment]) {
    if ((flags & text) === 0) continue;
    const end = bytes.indexOf(0, at);
    if (end < 0) return undefined;
    at = end + 1;
  }
  return at < bytes.length ? at : undefined;
}
