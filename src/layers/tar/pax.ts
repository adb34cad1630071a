import { LayerError } from "../layer-error.ts";

/** Records of one extended header, the last of each key; keys as latin1 text, so that any byte survives. */
export type PaxRecords = ReadonlyMap<string, Uint8Array>;

/** Holds the map of a sparse file, as version 0.1 writes it; the pairs of version 0.0 are turned into it. */
export const sparseMapKey = "GNU.sparse.map";

const nameKeys = new Set(["path", "linkpath", "uname", "gname"]);

/**
 * Splits the data of a PAX header (`<length> key=value\n`, POSIX pax) into records. Values are views into `data` and may
 * hold any bytes, except that names may not hold NUL. Throws `LayerError` for malformed records.
 */
export function parsePaxRecords(data: Uint8Array): PaxRecords {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const records = new Map<string, Uint8Array>();
  const pairs: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + recordLength(bytes, at);
    const space = bytes.indexOf(0x20, at);
    const equals = bytes.indexOf(0x3d, space + 1);
    if (end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end - 1 || equals === space + 1)
      throw malformed();
    const key = bytes.toString("latin1", space + 1, equals);
    const value = bytes.subarray(equals + 1, end - 1);
    if (key.includes("\0") || (nameKeys.has(key) && value.includes(0)))
      throw new LayerError("invalid-tar", "an extended header has a NUL in a name");
    if (key === "GNU.sparse.offset" || key === "GNU.sparse.numbytes") {
      const isOffset = key === "GNU.sparse.offset";
      if (isOffset !== (pairs.length % 2 === 0) || value.includes(0x2c)) throw malformed();
      pairs.push(value.toString("latin1"));
    } else {
      records.set(key, value);
    }
    at = end;
  }
  if (pairs.length > 0) records.set(sparseMapKey, Buffer.from(pairs.join(","), "latin1"));
  return records;
}

function malformed(): LayerError {
  return new LayerError("invalid-tar", "an extended header is malformed");
}

/** The decimal number before the space at most 20 bytes on; the record must have room for ` k=\n`. */
function recordLength(bytes: Buffer, start: number): number {
  let length = 0;
  let at = start;
  for (; at < bytes.length && at < start + 20; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) break;
    length = length * 10 + digit;
  }
  if (bytes[at] !== 0x20 || length < 5 || length <= at - start + 1) throw malformed();
  return length;
}
