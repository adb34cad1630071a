import { LayerError } from "../layer-error.ts";
import { parseNumeric, parseOctal } from "./fields.ts";

export const blockBytes = 512;

/** Type flags by their character code. POSIX ustar, pax; GNU tar `L`, `K`, `S`. */
export const typeFlag = {
  regularOld: 0,
  regular: 0x30,
  hardLink: 0x31,
  symbolicLink: 0x32,
  characterDevice: 0x33,
  blockDevice: 0x34,
  directory: 0x35,
  fifo: 0x36,
  contiguous: 0x37,
  paxNext: 0x78,
  paxGlobal: 0x67,
  gnuLongName: 0x4c,
  gnuLongLink: 0x4b,
  gnuSparse: 0x53,
} as const;

/** Entries of these types have no data, whatever their size field says. */
export function isHeaderOnly(type: number): boolean {
  return type >= typeFlag.hardLink && type <= typeFlag.fifo;
}

export type TarHeader = {
  /** Views into the block, or a copy when name and prefix are joined. */
  readonly name: Uint8Array;
  readonly linkName: Uint8Array;
  readonly type: number;
  readonly format: "v7" | "ustar" | "star" | "gnu";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** May be negative. */
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly major: number;
  readonly minor: number;
};

export function isZeroBlock(block: Uint8Array): boolean {
  for (let i = 0; i < blockBytes; i++) if (block[i] !== 0) return false;
  return true;
}

/**
 * Reads one header block of 512 bytes: old v7, ustar with prefix, star, GNU. Forms and refusals are those of Go's
 * archive/tar, which containerd uses. Throws `LayerError` when the checksum (unsigned or signed) or a number is wrong.
 */
export function parseHeader(block: Uint8Array): TarHeader {
  checkSum(block);
  const format = formatOf(block);
  const type = block[156] ?? 0;
  let name = stringAt(block, 0, 100);
  const linkName = stringAt(block, 157, 257);
  const size = parseNumeric(block, 124, 12);
  const mode = parseNumeric(block, 100, 8);
  const uid = parseNumeric(block, 108, 8);
  const gid = parseNumeric(block, 116, 8);
  const mtimeSeconds = parseNumeric(block, 136, 12);
  let major = 0;
  let minor = 0;
  if (format !== "v7") {
    major = parseNumeric(block, 329, 8);
    minor = parseNumeric(block, 337, 8);
    const prefix = prefixOf(block, format);
    if (prefix.length > 0) name = Buffer.concat([prefix, slash, name]);
  }
  return { name, linkName, type, format, mode, uid, gid, size, mtimeSeconds, major, minor };
}

const slash = Buffer.from("/");
const nothing = new Uint8Array(0);

/** The bytes of a field before its first NUL. Views cost more than looking first. */
function stringAt(block: Uint8Array, start: number, end: number): Uint8Array {
  let at = start;
  while (at < end && block[at] !== 0) at++;
  return at === start ? nothing : block.subarray(start, at);
}

function checkSum(block: Uint8Array): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < 148; i++) sum += block[i] as number;
  for (let i = 156; i < blockBytes; i++) sum += block[i] as number;
  const expected = parseOctal(block, 148, 8);
  if (expected === sum) return;
  let high = 0;
  for (let i = 0; i < blockBytes; i++) if ((i < 148 || i >= 156) && (block[i] as number) > 127) high++;
  if (expected !== sum - 256 * high) throw new LayerError("invalid-tar", "the checksum of the header is wrong");
}

function formatOf(block: Uint8Array): TarHeader["format"] {
  if (!matches(block, 257, "ustar")) return "v7";
  if (block[262] === 0) return matches(block, 508, "tar\0") ? "star" : "ustar";
  return matches(block, 262, "  \0") ? "gnu" : "v7";
}

function matches(block: Uint8Array, offset: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (block[offset + i] !== text.charCodeAt(i)) return false;
  return true;
}

function prefixOf(block: Uint8Array, format: TarHeader["format"]): Uint8Array {
  if (format === "ustar") return stringAt(block, 345, 500);
  if (format === "star") {
    parseNumeric(block, 476, 12);
    parseNumeric(block, 488, 12);
    return stringAt(block, 345, 476);
  }
  return gnuPrefix(block);
}

/**
 * GNU headers have times where ustar has the prefix. Go before 1.8 wrote a prefix there all the same: when the times
 * are no numbers and the field is ASCII, it is a prefix.
 */
function gnuPrefix(block: Uint8Array): Uint8Array {
  try {
    if (block[345] !== 0) parseNumeric(block, 345, 12);
    if (block[357] !== 0) parseNumeric(block, 357, 12);
    return nothing;
  } catch {
    const prefix = stringAt(block, 345, 500);
    return prefix.every((byte) => byte < 0x80) ? prefix : nothing;
  }
}
