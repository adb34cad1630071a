/** Values and how many bits they take, lowest first. */
type Bits = readonly (readonly [value: number, bits: number])[];

/** A block of fixed codes with nothing in it (RFC 1951, 3.2.6): 10 bits. */
const emptyFixedBlock: Bits = [
  [0b010, 3],
  [0, 7],
];

/** A block of dynamic codes with nothing in it (RFC 1951, 3.2.7), 95 bits: 256 zeros, end of block and one distance have codes of one bit. */
const emptyDynamicBlock: Bits = [
  [0b100, 3],
  [0, 5],
  [0, 5],
  [15, 4],
  // Lengths of 16, 17, 18, 0, ..., 1, 15: 18 is "0", 0 is "10", 1 is "11".
  ...[0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0].map((length) => [length, 3] as const),
  [0, 1],
  [138 - 11, 7],
  [0, 1],
  [118 - 11, 7],
  [0b11, 2],
  [0b11, 2],
  [0, 1],
];

/**
 * Deflate blocks without content whose bits leave `bit` of the last byte over, which is where the blocks of another stream may go on: those
 * before that bit are set in the last byte, the others zero. Empty for 0.
 */
export function blocksToBit(bit: number): Uint8Array {
  const parts: Bits[] = bit % 2 === 1 ? [emptyDynamicBlock] : [];
  const bitsOf = (): number => parts.flat().reduce((sum, [, bits]) => sum + bits, 0);
  while (bitsOf() % 8 !== bit) parts.push(emptyFixedBlock);
  const bytes = new Uint8Array(Math.ceil(bitsOf() / 8));
  let at = 0;
  for (const [value, bits] of parts.flat())
    for (let i = 0; i < bits; i++, at++) bytes[at >> 3] |= ((value >> i) & 1) << (at & 7);
  return bytes;
}
