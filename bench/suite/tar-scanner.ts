import { createHash, hash as digestOf, type Hash } from "node:crypto";

/** What a layer's tar holds, counted independently of the builder. */
export type LayerCounts = {
  /** Entries but not their extended headers. */
  readonly entries: number;
  readonly directories: number;
  /** Regular files with content. */
  readonly files: number;
  /** Bytes of all last name components. */
  readonly nameBytes: number;
  readonly fileBytes: number;
};

/** Bytes of one record of `TarScanner.contents`: 8 of the SHA-256, then the size as a little-endian double. */
export const contentRecordBytes = 16;

/** Reads a well-formed tar stream (ustar, PAX) chunk by chunk and counts it. */
export class TarScanner {
  #entries = 0;
  #directories = 0;
  #files = 0;
  #nameBytes = 0;
  #fileBytes = 0;
  readonly #header = Buffer.alloc(512);
  #headerFill = 0;
  #bodyLeft = 0;
  #paddingLeft = 0;
  #hash: Hash | undefined;
  #bodySize = 0;
  #extended: Buffer[] | undefined;
  #longName = -1;
  #records = Buffer.alloc(1 << 16);
  #recordsFill = 0;

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#bodyLeft > 0) {
        const take = Math.min(this.#bodyLeft, chunk.length - at);
        this.#body(chunk.subarray(at, at + take));
        at += take;
      } else if (this.#paddingLeft > 0) {
        const take = Math.min(this.#paddingLeft, chunk.length - at);
        this.#paddingLeft -= take;
        at += take;
      } else {
        const take = Math.min(512 - this.#headerFill, chunk.length - at);
        chunk.copy(this.#header, this.#headerFill, at, at + take);
        this.#headerFill += take;
        at += take;
        if (this.#headerFill === 512) this.#entry();
      }
    }
  }

  get counts(): LayerCounts {
    return {
      entries: this.#entries,
      directories: this.#directories,
      files: this.#files,
      nameBytes: this.#nameBytes,
      fileBytes: this.#fileBytes,
    };
  }

  /** One record for each regular file with content. */
  get contents(): Buffer {
    return this.#records.subarray(0, this.#recordsFill);
  }

  #entry(): void {
    this.#headerFill = 0;
    const header = this.#header;
    if (header[0] === 0) return;
    const size = Number.parseInt(header.toString("latin1", 124, 136), 8) || 0;
    const type = String.fromCharCode(header[156]);
    const hasBody = type === "0" || type === "\0" || type === "x" || type === "g" || type === "L" || type === "K";
    this.#bodySize = this.#bodyLeft = hasBody ? size : 0;
    this.#paddingLeft = (512 - (this.#bodyLeft % 512)) % 512;
    if (type === "x") {
      this.#extended = [];
      return;
    }
    if (type === "g" || type === "L" || type === "K") return;
    this.#entries++;
    if (type === "5") this.#directories++;
    this.#nameBytes += this.#longName >= 0 ? this.#longName : lastComponentBytes(header.subarray(0, 100));
    this.#longName = -1;
    if (this.#bodyLeft > 0) {
      this.#files++;
      this.#fileBytes += size;
    }
  }

  #body(part: Buffer): void {
    const whole = part.length === this.#bodySize;
    this.#bodyLeft -= part.length;
    if (this.#extended) {
      this.#extended.push(Buffer.from(part));
      if (this.#bodyLeft > 0) return;
      const path = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(Buffer.concat(this.#extended).toString("latin1"))?.[1];
      if (path !== undefined) this.#longName = lastComponentBytes(Buffer.from(path, "latin1"));
      this.#extended = undefined;
    } else if (whole) {
      this.#content(digestOf("sha256", part, "buffer"));
    } else {
      this.#hash ??= createHash("sha256");
      this.#hash.update(part);
      if (this.#bodyLeft > 0) return;
      this.#content(this.#hash.digest());
      this.#hash = undefined;
    }
  }

  #content(digest: Buffer): void {
    if (this.#recordsFill + contentRecordBytes > this.#records.length) {
      this.#records = Buffer.concat([this.#records, Buffer.alloc(this.#records.length)]);
    }
    digest.copy(this.#records, this.#recordsFill, 0, 8);
    this.#records.writeDoubleLE(this.#bodySize, this.#recordsFill + 8);
    this.#recordsFill += contentRecordBytes;
  }
}

function lastComponentBytes(name: Buffer): number {
  let end = name.indexOf(0);
  if (end < 0) end = name.length;
  if (end > 0 && name[end - 1] === 0x2f) end--;
  return end - (end === 0 ? 0 : name.lastIndexOf(0x2f, end - 1) + 1);
}
