import { LayerError, limitError, printableName } from "../layer-error.ts";
import { parseNumeric, parseString } from "./fields.ts";
import { blockBytes, isHeaderOnly, isZeroBlock, parseHeader, type TarHeader, typeFlag } from "./header.ts";
import { mergeEntry } from "./merge-entry.ts";
import { type PaxRecords, parsePaxRecords } from "./pax.ts";
import { addOldSparsePairs, paxSparseVersion, SparseMapText } from "./sparse.ts";
import type { TarEntry, TarHandler } from "./tar-entry.ts";

export type TarReaderOptions = {
  /** Most bytes of one extended header or sparse map. */
  readonly paxBytes: number;
};

type State = "header" | "meta" | "oldSparse" | "sparseText" | "data" | "padding" | "end";

/**
 * Reads a tar as its bytes arrive and hands entries and data on without copying where a piece holds them whole. Accepts what
 * Go's archive/tar accepts: the archive ends with two zero blocks, or where the input ends between entries, or in the
 * padding of the last one; what follows the zero blocks is ignored. A PAX header counts for the next entry only, global
 * ones for none. Reads GNU sparse files of all versions.
 *
 * Throws `LayerError` ("invalid-tar", "limit") that names the entry or the place; what the handler throws passes through.
 */
export class TarReader {
  readonly #handler: TarHandler;
  readonly #paxBytes: number;
  #state: State = "header";
  #offset = 0;
  #headerOffset = 0;
  readonly #carry = Buffer.alloc(blockBytes);
  #carried = 0;
  #zeroBlockSeen = false;

  /** Bytes left in the current data or meta section, and the padding behind it. */
  #remaining = 0;
  #padding = 0;
  #meta = Buffer.alloc(0);
  #metaFilled = 0;
  #metaType = 0;

  #records: PaxRecords | undefined;
  #longName: Uint8Array | undefined;
  #longLink: Uint8Array | undefined;
  #header: TarHeader | undefined;
  #oldSparse: number[] = [];
  #realSize = 0;
  #sparseText: SparseMapText | undefined;
  #stored = 0;

  constructor(handler: TarHandler, options: TarReaderOptions) {
    this.#handler = handler;
    this.#paxBytes = options.paxBytes;
  }

  /**
   * Reads from `bytes` at `from` on; returns how far it came: their end, or less when the handler paused it. Once it has come to the end
   * it does not look at them any more; a handler that pauses may.
   */
  push(bytes: Uint8Array, from = 0): number {
    // Views of plain arrays cost a fraction of views of `Buffer`s.
    const chunk = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = from;
    while (at < chunk.length && !this.#handler.paused) {
      const taken = this.#step(chunk, at);
      at += taken;
      this.#offset += taken;
    }
    if (at === chunk.length) this.#keepHeader();
    return at;
  }

  /** What is known of the current entry may be views into the block that it was read from. */
  #keepHeader(): void {
    if (this.#header === undefined) return;
    const { name, linkName } = this.#header;
    this.#header = { ...this.#header, name: name.slice(), linkName: linkName.slice() };
  }

  /** The input has ended. Throws `LayerError` when it ended within an entry. */
  end(): void {
    const cut = this.#carried > 0 || this.#state === "data" || this.#state === "meta" || this.#state === "oldSparse";
    if (cut || this.#state === "sparseText") throw this.#problem("the archive is cut short");
  }

  #step(chunk: Uint8Array, at: number): number {
    switch (this.#state) {
      case "data": {
        const size = Math.min(this.#remaining, chunk.length - at);
        this.#remaining -= size;
        this.#handler.data(chunk.subarray(at, at + size));
        if (this.#remaining === 0) this.#endEntry();
        return size;
      }
      case "padding": {
        const size = Math.min(this.#padding, chunk.length - at);
        this.#padding -= size;
        if (this.#padding === 0) this.#state = "header";
        return size;
      }
      case "meta": {
        const size = Math.min(this.#meta.length - this.#metaFilled, chunk.length - at);
        this.#meta.set(chunk.subarray(at, at + size), this.#metaFilled);
        this.#metaFilled += size;
        if (this.#metaFilled === this.#meta.length) this.#endMeta();
        return size;
      }
      case "end":
        return chunk.length - at;
      default: {
        if (this.#carried === 0 && chunk.length - at >= blockBytes) {
          this.#block(chunk.subarray(at, at + blockBytes), 0);
          return blockBytes;
        }
        const size = Math.min(blockBytes - this.#carried, chunk.length - at);
        this.#carry.set(chunk.subarray(at, at + size), this.#carried);
        this.#carried += size;
        if (this.#carried === blockBytes) {
          this.#carried = 0;
          // Names of the entry may be views into the block, and the carry buffer is used again.
          this.#block(Buffer.from(this.#carry), blockBytes - size);
        }
        return size;
      }
    }
  }

  /** A whole block outside of data; `before` of its bytes were counted in earlier steps. */
  #block(block: Uint8Array, before: number): void {
    if (this.#state === "oldSparse") {
      this.#guard(() => {
        const more = addOldSparsePairs(this.#oldSparse, block, false);
        if (this.#oldSparse.length * 12 > this.#paxBytes) throw this.#mapTooLong();
        if (!more) this.#begin(this.#oldSparse, this.#realSize);
      });
      return;
    }
    if (this.#state === "sparseText") {
      this.#remaining -= blockBytes;
      this.#mapBlock(block);
      return;
    }
    this.#headerOffset = this.#offset - before;
    if (isZeroBlock(block)) {
      if (this.#zeroBlockSeen) this.#state = "end";
      this.#zeroBlockSeen = true;
      return;
    }
    this.#header = undefined;
    if (this.#zeroBlockSeen) throw this.#problem("an entry follows a zero block");
    this.#header = this.#guard(() => parseHeader(block));
    this.#beginHeader(this.#header, block);
  }

  #beginHeader(header: TarHeader, block: Uint8Array): void {
    const size = isHeaderOnly(header.type) ? 0 : header.size;
    if (size < 0) throw this.#problem("its size is negative");
    switch (header.type) {
      case typeFlag.paxNext:
      case typeFlag.paxGlobal:
      case typeFlag.gnuLongName:
      case typeFlag.gnuLongLink:
        if (size > this.#paxBytes)
          throw limitError("pax-bytes", this.#paxBytes, `${this.#place()}: an extended header`);
        this.#metaType = header.type;
        this.#meta = Buffer.alloc(size);
        this.#metaFilled = 0;
        this.#padding = -size & (blockBytes - 1);
        this.#state = "meta";
        if (size === 0) this.#endMeta();
        return;
      case typeFlag.gnuSparse:
        if (header.format !== "gnu") throw this.#problem("it is sparse in a format other than GNU's");
        this.#guard(() => {
          this.#realSize = parseRealSize(block);
          this.#oldSparse = [];
          if (addOldSparsePairs(this.#oldSparse, block, true)) this.#state = "oldSparse";
          else this.#begin(this.#oldSparse, this.#realSize);
        });
        return;
      default:
        this.#guard(() => {
          if (this.#records !== undefined && paxSparseVersion(this.#records) === "1.0") {
            this.#stored = mergeEntry(header, this.#records, this.#longName, this.#longLink, undefined).storedBytes;
            this.#remaining = this.#stored;
            this.#sparseText = new SparseMapText();
            this.#state = "sparseText";
            if (this.#remaining < blockBytes) throw new LayerError("invalid-tar", "the sparse map is cut short");
          } else {
            this.#begin(undefined, undefined);
          }
        });
    }
  }

  #mapBlock(block: Uint8Array): void {
    this.#guard(() => {
      const map = this.#sparseText?.push(block);
      const mapBytes = this.#stored - this.#remaining;
      if (map !== undefined) {
        this.#begin(map, undefined, mapBytes);
      } else {
        if (this.#remaining < blockBytes) throw new LayerError("invalid-tar", "the sparse map is cut short");
        if (mapBytes >= this.#paxBytes) throw this.#mapTooLong();
      }
    });
  }

  /** All headers of an entry are there: hands it on. `mapBytes` of its data were the sparse map. */
  #begin(map: readonly number[] | undefined, realSize: number | undefined, mapBytes = 0): void {
    const sparse = map === undefined ? undefined : { map, realSize, mapBytes };
    const merged = mergeEntry(this.#currentHeader(), this.#records, this.#longName, this.#longLink, sparse);
    this.#forgetMeta();
    this.#remaining = merged.storedBytes - mapBytes;
    this.#padding = -merged.storedBytes & (blockBytes - 1);
    this.#give(merged.entry);
  }

  #give(entry: TarEntry): void {
    this.#state = "data";
    this.#handler.entry(entry);
    if (this.#remaining === 0) this.#endEntry();
  }

  #endEntry(): void {
    this.#state = this.#padding > 0 ? "padding" : "header";
    this.#handler.endEntry();
  }

  #endMeta(): void {
    const data = this.#meta;
    this.#state = this.#padding > 0 ? "padding" : "header";
    this.#guard(() => {
      switch (this.#metaType) {
        case typeFlag.gnuLongName:
          this.#longName = untilNul(data);
          break;
        case typeFlag.gnuLongLink:
          this.#longLink = untilNul(data);
          break;
        case typeFlag.paxNext:
          this.#records = parsePaxRecords(data);
          break;
        default: {
          const name = parsePaxRecords(data).get("path");
          const header = { ...this.#currentHeader(), size: 0 };
          if (name !== undefined && name.length > 0) header.name = name;
          this.#forgetMeta();
          this.#handler.entry(mergeEntry(header, undefined, undefined, undefined, undefined).entry);
          this.#handler.endEntry();
        }
      }
    });
  }

  #forgetMeta(): void {
    this.#records = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
  }

  #currentHeader(): TarHeader {
    if (this.#header === undefined) throw new Error("no header is being read");
    return this.#header;
  }

  #place(): string {
    const name = this.#header === undefined ? "" : ` ${printableName(this.#longName ?? this.#header.name)}`;
    return `tar entry${name} at byte ${this.#headerOffset}`;
  }

  #problem(reason: string): LayerError {
    return new LayerError("invalid-tar", `${this.#place()}: ${reason}`);
  }

  #mapTooLong(): LayerError {
    return limitError("pax-bytes", this.#paxBytes, `${this.#place()}: the sparse map`);
  }

  /** Gives errors of the parsers their place; errors of the handler name the entry themselves. */
  #guard<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (error instanceof LayerError && error.code === "invalid-tar" && !error.message.startsWith("tar entry"))
        throw this.#problem(error.message);
      throw error;
    }
  }
}

function parseRealSize(block: Uint8Array): number {
  return parseNumeric(block, 483, 12);
}

/** Long names end at the first NUL; empty ones count as absent. */
function untilNul(data: Uint8Array): Uint8Array | undefined {
  const name = parseString(data);
  return name.length > 0 ? name : undefined;
}
