import { LayerError } from "../layer-error.ts";
import { parseDecimal, parseNumeric } from "./fields.ts";
import { type PaxRecords, sparseMapKey } from "./pax.ts";

/** Where the stored bytes of a sparse file belong: offsets and lengths in turn, in order, without overlap. */
export type SparseMap = readonly number[];

/** Which of the PAX sparse formats of GNU tar the records announce, if any. */
export function paxSparseVersion(records: PaxRecords): "0.x" | "1.0" | undefined {
  const major = text(records, "GNU.sparse.major");
  const minor = text(records, "GNU.sparse.minor");
  if (major === "0" && (minor === "0" || minor === "1")) return "0.x";
  if (major === "1" && minor === "0") return "1.0";
  if (major !== "" || minor !== "") return undefined;
  return text(records, sparseMapKey) === "" ? undefined : "0.x";
}

function text(records: PaxRecords, key: string): string {
  const value = records.get(key);
  return value === undefined ? "" : Buffer.from(value).toString("latin1");
}

/** The map of versions 0.0 and 0.1, which stands in the records. */
export function sparseMapOfRecords(records: PaxRecords): SparseMap {
  const count = parseDecimal(records.get("GNU.sparse.numblocks") ?? new Uint8Array(0));
  const joined = text(records, sparseMapKey);
  const numbers = joined === "" ? [] : joined.split(",").map((part) => parseDecimal(Buffer.from(part, "latin1")));
  if (numbers.length !== 2 * count)
    throw new LayerError("invalid-tar", "the sparse map has another length than it says");
  return numbers;
}

/** Collects the map of version 1.0, which stands before the data in whole blocks of text lines. */
export class SparseMapText {
  readonly #numbers: number[] = [];
  #line = "";
  #wanted = 1;

  /** Takes a block of the data; returns the map once it is complete. */
  push(block: Uint8Array): SparseMap | undefined {
    for (const byte of block) {
      if (byte !== 0x0a) {
        if (this.#line.length > 20) throw new LayerError("invalid-tar", "the sparse map is no list of numbers");
        this.#line += String.fromCharCode(byte);
        continue;
      }
      const number = parseDecimal(Buffer.from(this.#line, "latin1"));
      this.#line = "";
      if (this.#numbers.length === 0) {
        if (number < 0) throw new LayerError("invalid-tar", "the sparse map has a negative length");
        this.#wanted = 1 + 2 * number;
      }
      this.#numbers.push(number);
      if (this.#numbers.length === this.#wanted) return this.#numbers.slice(1);
    }
    return undefined;
  }
}

/**
 * Adds the pairs of an old GNU header (4 at byte 386) or extension block (21 at byte 0) to `map`; a pair whose offset begins
 * with NUL ends the block's list. Returns whether another extension block follows.
 */
export function addOldSparsePairs(map: number[], block: Uint8Array, inHeader: boolean): boolean {
  const start = inHeader ? 386 : 0;
  const pairs = inHeader ? 4 : 21;
  for (let i = 0; i < pairs; i++) {
    const at = start + 24 * i;
    if (block[at] === 0) break;
    map.push(parseNumeric(block, at, 12), parseNumeric(block, at + 12, 12));
  }
  return block[start + 24 * pairs] !== 0;
}

/** Throws `LayerError` unless the parts are in order, within `sizeBytes`, and as long together as the stored bytes. */
export function checkSparseMap(map: SparseMap, sizeBytes: number, storedBytes: number): void {
  let end = 0;
  let sum = 0;
  for (let i = 0; i < map.length; i += 2) {
    const offset = map[i] as number;
    const length = map[i + 1] as number;
    if (offset < end || length < 0 || offset + length > sizeBytes)
      throw new LayerError("invalid-tar", "the sparse map overlaps or exceeds the file");
    end = offset + length;
    sum += length;
  }
  if (sum !== storedBytes)
    throw new LayerError("invalid-tar", `the sparse map covers ${sum} bytes, but ${storedBytes} are stored`);
}
