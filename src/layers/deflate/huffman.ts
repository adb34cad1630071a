/**
 * A Huffman code as a table over the next `bits` bits of a deflate stream: the symbol times 16, and how many of the bits its code has.
 * 0 where no code begins like that.
 */
export type HuffmanTable = { readonly entries: Uint16Array; readonly bits: number };

/** Most bits of a code (RFC 1951, 3.2.7). */
const mostBits = 15;

/**
 * The table of the code with these lengths, one for each symbol (RFC 1951, 3.2.2). `undefined` for lengths that zlib refuses: more codes than fit,
 * or fewer, unless there is just one of a single bit and `mayBeIncomplete`, or none at all.
 */
export function huffmanTable(lengths: Uint8Array, mayBeIncomplete: boolean): HuffmanTable | undefined {
  const counts = new Uint16Array(mostBits + 1);
  for (const length of lengths) counts[length]++;
  counts[0] = 0;
  let bits = mostBits;
  while (bits > 1 && counts[bits] === 0) bits--;
  let left = 1;
  const next = new Uint16Array(mostBits + 2);
  for (let length = 1; length <= mostBits; length++) {
    left = 2 * left - counts[length];
    if (left < 0) return undefined;
    next[length + 1] = (next[length] + counts[length]) << 1;
  }
  if (left > 0 && !(mayBeIncomplete && bits === 1)) return undefined;
  const entries = new Uint16Array(1 << bits);
  for (let symbol = 0; symbol < lengths.length; symbol++) {
    const length = lengths[symbol];
    if (length === 0) continue;
    const code = reversed(next[length]++, length);
    for (let i = code; i < entries.length; i += 1 << length) entries[i] = (symbol << 4) | length;
  }
  return { entries, bits };
}

/** Codes come with their first bit lowest. */
function reversed(code: number, length: number): number {
  let result = 0;
  for (let i = 0; i < length; i++) result |= ((code >> i) & 1) << (length - 1 - i);
  return result;
}
