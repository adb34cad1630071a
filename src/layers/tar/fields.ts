import { LayerError } from "../layer-error.ts";

/** The bytes before the first NUL, or all of them. */
export function parseString(field: Uint8Array): Uint8Array {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

function isPadding(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0;
}

/**
 * Octal digits between spaces and NULs; what follows a NUL within is ignored. An empty field is 0.
 * Throws `LayerError` for anything else. Numbers above 2^53 lose precision.
 */
export function parseOctal(block: Uint8Array, offset: number, width: number): number {
  let at = offset;
  let end = offset + width;
  while (at < end && isPadding(block[at])) at++;
  while (end > at && isPadding(block[end - 1])) end--;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] ?? 0) - 0x30;
    if (digit === -0x30) break;
    if (digit < 0 || digit > 7) throw new LayerError("invalid-tar", "a number field is not octal");
    value = value * 8 + digit;
  }
  return value;
}

/**
 * A number field: octal, or GNU base-256 (two's complement, big-endian) when the first bit is set.
 * Throws `LayerError` for values outside 64 bits. Numbers beyond ±2^53 lose precision.
 */
export function parseNumeric(block: Uint8Array, offset: number, width: number): number {
  const first = block[offset] ?? 0;
  if ((first & 0x80) === 0) return parseOctal(block, offset, width);
  const invert = (first & 0x40) === 0 ? 0 : 0xff;
  let value = 0;
  for (let i = 0; i < width; i++) {
    let byte = (block[offset + i] ?? 0) ^ invert;
    if (i === 0) byte &= 0x7f;
    value = value * 256 + byte;
  }
  if (value >= 2 ** 63) throw new LayerError("invalid-tar", "a number field exceeds 64 bits");
  return invert === 0 ? value : -value - 1;
}

/**
 * A decimal number with an optional sign, as PAX records hold it. Throws `LayerError` for other bytes and for values
 * outside 64 bits. Numbers beyond ±2^53 lose precision.
 */
export function parseDecimal(text: Uint8Array): number {
  let at = 0;
  const negative = text[0] === 0x2d;
  if (negative || text[0] === 0x2b) at = 1;
  if (at === text.length) throw new LayerError("invalid-tar", "a number is empty");
  let value = 0;
  for (; at < text.length; at++) {
    const digit = (text[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) throw new LayerError("invalid-tar", "a number is not decimal");
    value = value * 10 + digit;
  }
  if (value >= 2 ** 63 && !(negative && value === 2 ** 63))
    throw new LayerError("invalid-tar", "a number exceeds 64 bits");
  return negative ? -value : value;
}

export type TarTime = { readonly seconds: number; readonly nanoseconds: number };

/**
 * `seconds[.fraction]`, perhaps negative (POSIX pax, `mtime`). Digits after the ninth are cut off. The result has
 * nanoseconds from 0 to 999,999,999, so -1.5 is -2 s and 500,000,000 ns.
 */
export function parsePaxTime(text: Uint8Array): TarTime {
  const dot = text.indexOf(0x2e);
  const seconds = parseDecimal(dot < 0 ? text : text.subarray(0, dot));
  let nanoseconds = 0;
  let digits = 0;
  for (let at = dot < 0 ? text.length : dot + 1; at < text.length; at++) {
    const digit = (text[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) throw new LayerError("invalid-tar", "a time is not decimal");
    if (digits < 9) {
      nanoseconds = nanoseconds * 10 + digit;
      digits++;
    }
  }
  nanoseconds *= 10 ** (9 - digits);
  if (text[0] === 0x2d && nanoseconds > 0) return { seconds: seconds - 1, nanoseconds: 1e9 - nanoseconds };
  return { seconds, nanoseconds };
}
