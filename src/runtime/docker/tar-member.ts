const blockBytes = 512;

/** The two blocks of zeros that end an archive. */
export const endOfTar: Buffer = Buffer.alloc(2 * blockBytes);

/** A regular file of root's, mode 0444, time 0, with its header (POSIX.1-1988 ustar). `name`: at most 100 bytes. */
export function tarMember(name: string, data: Uint8Array): Buffer {
  const header = Buffer.alloc(blockBytes);
  if (header.write(name, 0, 100) !== Buffer.byteLength(name)) throw new RangeError(`${name} is longer than 100 bytes`);
  const octal = (offset: number, digits: number, value: number) =>
    header.write(`${value.toString(8).padStart(digits, "0")}\0`, offset);
  octal(100, 7, 0o444);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, data.length);
  octal(136, 11, 0);
  header.write("0", 156);
  header.write("ustar\x0000", 257, "latin1");
  // The sum of all bytes, where its own field counts as spaces.
  header.fill(" ", 148, 156);
  octal(
    148,
    6,
    header.reduce((sum, byte) => sum + byte, 0),
  );
  return Buffer.concat([header, data, Buffer.alloc(-data.length & (blockBytes - 1))]);
}
