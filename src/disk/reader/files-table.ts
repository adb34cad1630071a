import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind, filesFormat } from "../files-format.ts";

const { magic, headerBytes, smallBytes, largeBytes, digestBytes, areaBytes } = filesFormat;
const blocksPerChunk = chunkBytes / blockBytes;

export type Area = {
  readonly firstBlock: number;
  readonly blockCount: number;
  readonly firstChunk: number;
  /** A value of `areaKind`. */
  readonly kind: number;
};

/**
 * `/nodewarm.files` (`docs/disk-format.md`, section 5) over its own bytes: nothing is allocated for a content. Contents are
 * numbered: small ones first, then large ones. Digests are views, not to be changed.
 */
export class FilesTable {
  readonly smallCount: number;
  readonly largeCount: number;
  readonly chunkDigestCount: number;
  readonly areaCount: number;
  readonly #bytes: Buffer;
  readonly #largeStart: number;
  readonly #chunkStart: number;
  readonly #areaStart: number;
  #holesBySize: Map<number, number> | undefined;

  /** Throws `DiskError` `corrupt` when the tables contradict their header, each other or the format. */
  constructor(bytes: Uint8Array, diskName: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < headerBytes || this.#bytes.toString("latin1", 0, 8) !== magic) {
      throw new DiskError("corrupt", `${diskName}: /nodewarm.files does not begin with ${magic}`);
    }
    [this.smallCount, this.largeCount, this.chunkDigestCount, this.areaCount] = [8, 12, 16, 20].map((offset) =>
      this.#bytes.readUInt32LE(offset),
    );
    this.#largeStart = headerBytes + this.smallCount * smallBytes;
    this.#chunkStart = this.#largeStart + this.largeCount * largeBytes;
    this.#areaStart = this.#chunkStart + this.chunkDigestCount * digestBytes;
    const size = this.#areaStart + this.areaCount * areaBytes;
    if (size !== bytes.length) {
      throw new DiskError("corrupt", `${diskName}: /nodewarm.files has ${bytes.length} bytes instead of ${size}`);
    }
    const problem = this.#firstProblem();
    if (problem !== undefined) throw new DiskError("corrupt", `${diskName}: /nodewarm.files: ${problem}`);
  }

  get contentCount(): number {
    return this.smallCount + this.largeCount;
  }

  isLarge(content: number): boolean {
    return content >= this.smallCount;
  }

  sizeBytes(content: number): number {
    if (!this.isLarge(content)) return this.#bytes.readUInt32LE(headerBytes + content * smallBytes + 36);
    const at = this.#large(content);
    return this.#bytes.readUInt32LE(at) + this.#bytes.readUInt32LE(at + 4) * 2 ** 32;
  }

  firstBlock(content: number): number {
    if (!this.isLarge(content)) return this.#bytes.readUInt32LE(headerBytes + content * smallBytes + 32);
    return this.#bytes.readUInt32LE(this.#large(content) + 8);
  }

  /** Blocks that the content takes on the disk; 0 when all of it is a hole. */
  blockCount(content: number): number {
    if (!this.isLarge(content)) return Math.ceil(this.sizeBytes(content) / blockBytes);
    const stored = this.storedChunkCount(content);
    if (stored === 0 || this.isHole(this.firstChunk(content) + this.chunkCount(content) - 1)) {
      return stored * blocksPerChunk;
    }
    const last = this.sizeBytes(content) - (this.chunkCount(content) - 1) * chunkBytes;
    return (stored - 1) * blocksPerChunk + Math.ceil(last / blockBytes);
  }

  /** SHA-256 of a small content. */
  smallDigest(content: number): Buffer {
    const at = headerBytes + content * smallBytes;
    return this.#bytes.subarray(at, at + digestBytes);
  }

  /** Index of a large content's first chunk digest; it has `chunkCount` of them. */
  firstChunk(content: number): number {
    return this.#bytes.readUInt32LE(this.#large(content) + 12);
  }

  chunkCount(content: number): number {
    return Math.ceil(this.sizeBytes(content) / chunkBytes);
  }

  /** Chunks of a large content that are not holes. */
  storedChunkCount(content: number): number {
    return this.#bytes.readUInt32LE(this.#large(content) + 16);
  }

  chunkDigest(chunk: number): Buffer {
    const at = this.#chunkStart + chunk * digestBytes;
    return this.#bytes.subarray(at, at + digestBytes);
  }

  /** The digests of all chunks of a large content, one after the other. */
  chunkDigests(content: number): Buffer {
    const at = this.#chunkStart + this.firstChunk(content) * digestBytes;
    return this.#bytes.subarray(at, at + this.chunkCount(content) * digestBytes);
  }

  isHole(chunk: number): boolean {
    const at = this.#chunkStart + chunk * digestBytes;
    for (let i = 0; i < digestBytes; i++) if (this.#bytes[at + i] !== 0) return false;
    return true;
  }

  area(index: number): Area {
    const at = this.#areaStart + index * areaBytes;
    return {
      firstBlock: this.#bytes.readUInt32LE(at),
      blockCount: this.#bytes.readUInt32LE(at + 4),
      firstChunk: this.#bytes.readUInt32LE(at + 8),
      kind: this.#bytes.readUInt32LE(at + 12),
    };
  }

  /** The content of `sizeBytes` that begins at `firstBlock`, or -1. */
  findContent(firstBlock: number, sizeBytes: number): number {
    const isSmall = sizeBytes <= chunkBytes;
    const end = isSmall ? this.smallCount : this.contentCount;
    let low = isSmall ? 0 : this.smallCount;
    let high = end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.firstBlock(middle) < firstBlock) low = middle + 1;
      else high = middle;
    }
    // Contents that are all hole take no blocks, so others may begin at the same place.
    for (let content = low; content < end && this.firstBlock(content) === firstBlock; content++) {
      if (this.sizeBytes(content) === sizeBytes && this.blockCount(content) > 0) return content;
    }
    return -1;
  }

  /** The content of `sizeBytes` that is all hole, or -1. */
  findHole(sizeBytes: number): number {
    if (this.#holesBySize === undefined) {
      this.#holesBySize = new Map();
      for (let content = this.smallCount; content < this.contentCount; content++) {
        if (this.storedChunkCount(content) === 0) this.#holesBySize.set(this.sizeBytes(content), content);
      }
    }
    return this.#holesBySize.get(sizeBytes) ?? -1;
  }

  #large(content: number): number {
    return this.#largeStart + (content - this.smallCount) * largeBytes;
  }

  #firstProblem(): string | undefined {
    if (this.#bytes.readBigUInt64LE(24) !== 0n) return "reserved bytes of the header are not zero";
    let end = 0;
    for (let content = 0; content < this.smallCount; content++) {
      const size = this.sizeBytes(content);
      if (size === 0 || size > chunkBytes) return `small content ${content} has ${size} bytes`;
      if (this.firstBlock(content) < end) return `small content ${content} overlaps the one before or is out of order`;
      end = this.firstBlock(content) + this.blockCount(content);
    }
    end = 0;
    let chunk = 0;
    for (let content = this.smallCount; content < this.contentCount; content++) {
      const name = `large content ${content - this.smallCount}`;
      const at = this.#large(content);
      if (this.#bytes.readUInt32LE(at + 4) >= 1 << 21) return `${name} is larger than 2^53 bytes`;
      if (this.sizeBytes(content) <= chunkBytes) return `${name} has only ${this.sizeBytes(content)} bytes`;
      if (this.#bytes.readUInt32LE(at + 20) !== 0) return `${name}: reserved bytes are not zero`;
      if (this.firstChunk(content) !== chunk) return `${name} does not have the next chunk digests`;
      const chunkEnd = chunk + this.chunkCount(content);
      if (chunkEnd > this.chunkDigestCount) return `${name} has more chunks than there are digests`;
      let stored = 0;
      for (; chunk < chunkEnd; chunk++) if (!this.isHole(chunk)) stored++;
      if (stored !== this.storedChunkCount(content)) return `${name} has ${stored} chunks that are not holes`;
      if (this.firstBlock(content) < end) return `${name} overlaps the one before or is out of order`;
      end = this.firstBlock(content) + this.blockCount(content);
    }
    end = 0;
    for (let i = 0; i < this.areaCount; i++) {
      const area = this.area(i);
      if (area.blockCount === 0) return `area ${i} has no blocks`;
      if (area.kind > areaKind.index) return `area ${i} has the unknown kind ${area.kind}`;
      if (area.firstChunk !== chunk) return `area ${i} does not have the next chunk digests`;
      chunk += Math.ceil(area.blockCount / blocksPerChunk);
      if (chunk > this.chunkDigestCount) return `area ${i} has more chunks than there are digests`;
      if (area.firstBlock < end) return `area ${i} overlaps the one before or is out of order`;
      end = area.firstBlock + area.blockCount;
    }
    return chunk === this.chunkDigestCount ? undefined : "there are chunk digests that belong to nothing";
  }
}
