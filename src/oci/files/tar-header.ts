import { OciError } from "../oci-error.ts";

/** One header block of a tar file (POSIX.1-1988 ustar, with GNU's numbers), as far as finding members needs it. */
export type TarHeader = {
  /** `0` regular, `1` hard link, `2` symbolic link, `x` and `g` PAX records, `L` and `K` GNU long names… */
  readonly type: string;
  readonly name: string;
  readonly linkName: string;
  readonly size: number;
};

export const tarBlockBytes = 512;

/** Parses a header block; `undefined` for a block of zeros. Throws `OciError` (invalid-archive). */
export function parseTarHeader(block: Buffer, place: string): TarHeader | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  if (number(block, 148, 8, place) !== checksum(block)) throw invalid(place, "the checksum of a header is wrong");
  const name = text(block, 0, 100);
  // GNU tar uses the place of the prefix for other things.
  const isUstar = block.toString("latin1", 257, 263) === "ustar\0";
  const prefix = isUstar ? text(block, 345, 155) : "";
  const type = String.fromCharCode(block[156] || 0x30);
  return {
    type: type === "7" ? "0" : type,
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: text(block, 157, 100),
    size: number(block, 124, 12, place),
  };
}

/** PAX extended header records: `LENGTH KEY=VALUE\n`. Throws `OciError` (invalid-archive). */
export function parsePaxRecords(bytes: Buffer, place: string): Map<string, string> {
  const records = new Map<string, string>();
  for (let start = 0; start < bytes.length; ) {
    const space = bytes.indexOf(0x20, start);
    const digits = space < 0 ? "" : bytes.toString("latin1", start, space);
    const end = /^\d{1,9}$/.test(digits) ? start + Number(digits) : 0;
    const equals = bytes.indexOf(0x3d, space);
    if (end <= start || end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw invalid(place, "a PAX record is malformed");
    }
    records.set(bytes.toString("utf8", space + 1, equals), bytes.toString("utf8", equals + 1, end - 1));
    start = end;
  }
  return records;
}

export function invalid(place: string, why: string): OciError {
  return new OciError("invalid-archive", `${place} is not a usable tar file: ${why}`);
}

function checksum(block: Buffer): number {
  let sum = 0;
  for (let index = 0; index < tarBlockBytes; index++) sum += index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0);
  return sum;
}

function text(block: Buffer, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end);
}

/** Octal digits, or GNU's base 256 where the top bit is set. */
function number(block: Buffer, start: number, length: number, place: string): number {
  const first = block[start] ?? 0;
  if (first & 0x80) {
    let value = first & 0x7f;
    for (let index = 1; index < length; index++) value = value * 256 + (block[start + index] ?? 0);
    if (first === 0xff || !Number.isSafeInteger(value)) throw invalid(place, "a number in a header is out of range");
    return value;
  }
  const digits = text(block, start, length).trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw invalid(place, "a number in a header is malformed");
  return Number.parseInt(digits, 8);
}
