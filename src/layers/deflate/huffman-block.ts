import { type HuffmanTable, huffmanTable } from "./huffman.ts";

/** The bits of a stream, lowest first, from `bit` on: a number of bits from the first byte of `bytes`. */
export type BitPosition = { readonly bytes: Uint8Array; readonly bit: number };

/** How decoding a block ended, with the bit behind it and the end of the output if it was decoded. */
export type DecodedBlock =
  | { readonly outcome: "done"; readonly bit: number; readonly end: number }
  /** The input ends within the block. */
  | { readonly outcome: "input" }
  /** The output has no room for it. */
  | { readonly outcome: "room" }
  | { readonly outcome: "invalid"; readonly reason: string };

/** Symbols 257 and up (RFC 1951, 3.2.5). */
const lengthBases = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59];
lengthBases.push(67, 83, 99, 115, 131, 163, 195, 227, 258);
const lengthBits = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const distanceBits = Array.from({ length: 30 }, (_, i) => Math.max(0, (i >> 1) - 1));
const distanceBases = distanceBits.map((bits, i) => (i < 2 ? i + 1 : 1 + ((2 + (i & 1)) << bits)));
/** RFC 1951, 3.2.7. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const endOfBlock = 256;

class EndOfInput extends Error {}
class Invalid extends Error {}

/** Takes bits off the front; behind the end there are zeros, which `check` finds. */
class BitReader {
  readonly #bytes: Uint8Array;
  #at: number;
  #held = 0;
  #heldBits = 0;

  constructor({ bytes, bit }: BitPosition) {
    this.#bytes = bytes;
    this.#at = bit >> 3;
    this.take(bit & 7);
  }

  get bit(): number {
    return 8 * this.#at - this.#heldBits;
  }

  /** The next bits, at most 15, without taking them. */
  peek(bits: number): number {
    while (this.#heldBits < bits) {
      // Behind the end: zeros.
      this.#held |= (this.#bytes[this.#at++] ?? 0) << this.#heldBits;
      this.#heldBits += 8;
    }
    return this.#held & ((1 << bits) - 1);
  }

  skip(bits: number): void {
    this.#held >>>= bits;
    this.#heldBits -= bits;
  }

  take(bits: number): number {
    const value = this.peek(bits);
    this.skip(bits);
    return value;
  }

  /** Throws when more was taken than there is. */
  check(): void {
    if (this.bit > 8 * this.#bytes.length) throw new EndOfInput();
  }

  symbol({ entries, bits }: HuffmanTable): number {
    const entry = entries[this.peek(bits)];
    if (entry === 0) {
      this.check();
      // What is missing at the end reads as zeros.
      if (this.bit + bits > 8 * this.#bytes.length) throw new EndOfInput();
      throw new Invalid("invalid code");
    }
    this.skip(entry & 15);
    return entry >> 4;
  }

  /**
   * Writes literals to `out` from `start` on, up to the next symbol that is none, which is not taken, or to the end of `out`. Returns where they end.
   * Most symbols of what does not compress; without calls, since the first blocks are decoded before this is compiled.
   */
  literals({ entries, bits }: HuffmanTable, out: Uint8Array, start: number): number {
    const bytes = this.#bytes;
    const mask = (1 << bits) - 1;
    let at = this.#at;
    let held = this.#held;
    let heldBits = this.#heldBits;
    let end = start;
    for (; end < out.length; end++) {
      while (heldBits < bits) {
        held |= (bytes[at++] ?? 0) << heldBits;
        heldBits += 8;
      }
      const entry = entries[held & mask];
      const symbol = entry >> 4;
      if (entry === 0 || symbol >= endOfBlock) break;
      out[end] = symbol;
      held >>>= entry & 15;
      heldBits -= entry & 15;
    }
    this.#at = at;
    this.#held = held;
    this.#heldBits = heldBits;
    return end;
  }
}

/**
 * Decodes one block of type 1 or 2 (fixed or dynamic Huffman codes), whose three bits of header have been read, to `out` from `start` on. What lies
 * before `start` is what came before, at most 32 KiB of it from `historyStart` on. All or nothing: what was written to `out` means nothing unless it is done.
 */
export function decodeHuffmanBlock(
  type: 1 | 2,
  position: BitPosition,
  out: Uint8Array,
  start: number,
  historyStart: number,
): DecodedBlock {
  const reader = new BitReader(position);
  try {
    const { literals, distances } = type === 1 ? fixedTables() : readTables(reader);
    let end = start;
    for (;;) {
      end = reader.literals(literals, out, end);
      const symbol = reader.symbol(literals);
      if (symbol < endOfBlock) return roomOrInput(reader);
      if (symbol === endOfBlock) break;
      const lengthCode = symbol - endOfBlock - 1;
      if (lengthCode >= lengthBases.length) throw new Invalid("invalid literal/length code");
      const length = lengthBases[lengthCode] + reader.take(lengthBits[lengthCode]);
      const distanceCode = reader.symbol(distances);
      if (distanceCode >= distanceBases.length) throw new Invalid("invalid distance code");
      const distance = distanceBases[distanceCode] + reader.take(distanceBits[distanceCode]);
      reader.check();
      if (end - distance < historyStart) throw new Invalid("invalid distance too far back");
      if (end + length > out.length) return roomOrInput(reader);
      for (const stop = end + length; end < stop; end++) out[end] = out[end - distance];
    }
    reader.check();
    return { outcome: "done", bit: reader.bit, end };
  } catch (error) {
    if (error instanceof EndOfInput) return { outcome: "input" };
    if (error instanceof Invalid) return { outcome: "invalid", reason: error.message };
    throw error;
  }
}

/** Zeros behind the end of the input may have been decoded as well. */
function roomOrInput(reader: BitReader): DecodedBlock {
  reader.check();
  return { outcome: "room" };
}

type Tables = { readonly literals: HuffmanTable; readonly distances: HuffmanTable };

let fixed: Tables | undefined;

function fixedTables(): Tables {
  fixed ??= {
    literals: tableOf(new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280)),
    distances: tableOf(new Uint8Array(32).fill(5)),
  };
  return fixed;
}

/** RFC 1951, 3.2.7. */
function readTables(reader: BitReader): Tables {
  const literalCount = reader.take(5) + 257;
  const distanceCount = reader.take(5) + 1;
  const codeCount = reader.take(4) + 4;
  reader.check();
  if (literalCount > 286 || distanceCount > 30) throw new Invalid("too many length or distance symbols");
  const codeLengths = new Uint8Array(19);
  for (let i = 0; i < codeCount; i++) codeLengths[lengthOrder[i]] = reader.take(3);
  reader.check();
  const codes = tableOf(codeLengths, false);
  const lengths = new Uint8Array(literalCount + distanceCount);
  for (let i = 0; i < lengths.length; ) {
    const symbol = reader.symbol(codes);
    if (symbol < 16) {
      lengths[i++] = symbol;
      continue;
    }
    const [value, repeats] = repeatOf(symbol, reader, i === 0 ? undefined : lengths[i - 1]);
    reader.check();
    if (value === undefined || i + repeats > lengths.length) throw new Invalid("invalid bit length repeat");
    lengths.fill(value, i, i + repeats);
    i += repeats;
  }
  reader.check();
  if (lengths[endOfBlock] === 0) throw new Invalid("invalid code -- missing end-of-block");
  return { literals: tableOf(lengths.subarray(0, literalCount)), distances: tableOf(lengths.subarray(literalCount)) };
}

function repeatOf(symbol: number, reader: BitReader, before: number | undefined): [number | undefined, number] {
  if (symbol === 16) return [before, 3 + reader.take(2)];
  return symbol === 17 ? [0, 3 + reader.take(3)] : [0, 11 + reader.take(7)];
}

function tableOf(lengths: Uint8Array, mayBeIncomplete = true): HuffmanTable {
  const table = huffmanTable(lengths, mayBeIncomplete);
  if (table === undefined) throw new Invalid("invalid set of code lengths");
  return table;
}
