import { blockBytes, chunkFormat, maximumBlocks } from "../../../filesystem/erofs/constants.ts";
import type { ContentPlaces } from "../../../filesystem/erofs/writer/leaf-inodes.ts";
import { chunkBytes, holeDigest } from "../../../layers/content.ts";
import { ContentTable } from "../../../layers/content-table.ts";
import { DiskError } from "../../disk-error.ts";
import type { PartialFile } from "../partial-file.ts";
import { batchKind, type ContentBatch } from "./content-batch.ts";
import { GrowableUint32 } from "./growable.ts";
import { type LargeContent, LargeContentMatcher } from "./large-content.ts";
import { moveBytes } from "./move-bytes.ts";

type Run = { offset: number; bytes: number; position: number };

/**
 * All distinct contents of a disk: numbers them, gives each its blocks in the order in which they come, and writes them. Layers must
 * come in the order of the format; a content never moves unless its own layer turns out not to need it.
 */
export class ContentStore implements ContentPlaces {
  readonly #file: PartialFile;
  readonly #table = new ContentTable();
  readonly #firstBlocks = new GrowableUint32();
  readonly #large = new Map<number, LargeContent>();
  readonly #matcher: LargeContentMatcher;
  #nextBlock: number;
  /** Numbers of the current layer's contents, by its own numbering. */
  #layer = new GrowableUint32();
  #layerFirst = 0;

  constructor(file: PartialFile, firstBlock: number) {
    this.#file = file;
    this.#nextBlock = firstBlock;
    this.#matcher = new LargeContentMatcher(this.#large);
  }

  get length(): number {
    return this.#table.length;
  }

  /** The block behind the last content. */
  get endBlock(): number {
    return this.#nextBlock;
  }

  sizeBytes(content: number): number {
    return this.#table.size(content);
  }

  firstBlock(content: number): number {
    return this.#firstBlocks.get(content);
  }

  /** SHA-256 of a small content, the key of a large one. */
  digest(content: number): Uint8Array {
    return this.#table.digest(content);
  }

  large(content: number): LargeContent | undefined {
    return this.#large.get(content);
  }

  chunkBlocks(content: number): Uint32Array | undefined {
    const large = this.#large.get(content);
    if (large === undefined || large.storedChunks === large.digests.length / 32) return undefined;
    let block = this.firstBlock(content);
    return Uint32Array.from({ length: large.digests.length / 32 }, (_, chunk) => {
      if (isHole(large.digests, chunk)) return chunkFormat.hole;
      block += chunkBytes / blockBytes;
      return block - chunkBytes / blockBytes;
    });
  }

  /** Blocks that a content takes. */
  blockCount(content: number): number {
    const large = this.#large.get(content);
    const sizeBytes = this.sizeBytes(content);
    if (large === undefined) return Math.ceil(sizeBytes / blockBytes);
    return storedBlocks(sizeBytes, large.digests);
  }

  /**
   * The current layer's next content, when its digest (the key of a large one) and chunk digests are known before its bytes. Returns its
   * first block if it is new: the caller writes it there.
   */
  place(digest: Uint8Array, sizeBytes: number, chunkDigests: Uint8Array | undefined): number | undefined {
    const block = this.#nextBlock;
    if (!this.#number(digest, sizeBytes)) return undefined;
    if (chunkDigests !== undefined) this.#matcher.add(this.length - 1, sizeBytes, chunkDigests.slice());
    this.#advance(this.blockCount(this.length - 1));
    return block;
  }

  beginLayer(): void {
    this.#layer = new GrowableUint32();
    this.#layerFirst = this.#table.length;
  }

  /** Takes a batch; resolves when its bytes are written and its buffer is free. */
  async take(batch: ContentBatch): Promise<void> {
    const runs: Run[] = [];
    for (let i = 0; i < batch.count; i++) {
      const digest = batch.digests.subarray(32 * i, 32 * i + 32);
      const size = batch.sizes[i];
      switch (batch.kinds[i]) {
        case batchKind.small:
          if (this.#number(digest, size)) this.#append(runs, batch.offsets[i], size);
          break;
        case batchKind.beginLarge:
          this.#matcher.begin(size);
          break;
        case batchKind.chunk:
        case batchKind.hole:
          await this.#takeChunk(batch, i, digest, runs);
          break;
        case batchKind.endLarge:
          this.#endLarge(digest);
          break;
        case batchKind.endRepeated:
          this.#matcher.end();
          break;
      }
    }
    await this.#writeRuns(batch, runs);
  }

  /**
   * Ends the layer: contents `dead` (its own numbers) are in none of its entries, so those that came with it go, and what lies behind
   * them moves down. Returns the numbers of the layer's contents by its own numbering; those of dead ones mean nothing.
   */
  async endLayer(dead: Uint32Array): Promise<Uint32Array> {
    const numbers = this.#layer.toArray();
    const gone = [...new Set(Array.from(dead, (local) => numbers[local]))]
      .filter((content) => content >= this.#layerFirst)
      .sort((a, b) => a - b);
    if (gone.length > 0) await this.#remove(gone, numbers);
    return numbers;
  }

  /** Ends the contents: no layer comes any more. */
  finish(): void {
    this.#table.seal();
    this.#layer = new GrowableUint32();
  }

  /** The number of a content, known or new; true when it is new. */
  #number(digest: Uint8Array, sizeBytes: number): boolean {
    const known = this.#table.find(digest, sizeBytes);
    this.#layer.push(known ?? this.#table.length);
    if (known !== undefined) return false;
    this.#table.add(digest, sizeBytes);
    this.#firstBlocks.push(this.#nextBlock);
    return true;
  }

  /** Gives `bytes` at `offset` of a batch the next blocks. */
  #append(runs: Run[], offset: number, bytes: number): void {
    const padded = Math.ceil(bytes / blockBytes) * blockBytes;
    const last = runs.at(-1);
    const position = this.#nextBlock * blockBytes;
    if (last !== undefined && last.offset + last.bytes === offset && last.position + last.bytes === position)
      last.bytes += padded;
    else runs.push({ offset, bytes: padded, position });
    this.#advance(padded / blockBytes);
  }

  #advance(blocks: number): void {
    this.#nextBlock += blocks;
    if (this.#nextBlock > maximumBlocks)
      throw new DiskError("limit", "the contents fill more than 2^32 - 2 blocks of 4 KiB: build several disks");
  }

  async #takeChunk(batch: ContentBatch, i: number, digest: Uint8Array, runs: Run[]): Promise<void> {
    const wasWriting = this.#matcher.isWriting;
    const copied = this.#matcher.chunk(digest);
    if (!this.#matcher.isWriting) return;
    if (!wasWriting) {
      // Not the content that it began like: the common beginning is copied, then it goes on by itself.
      await this.#writeRuns(batch, runs);
      runs.length = 0;
      this.#matcher.firstBlock = this.#nextBlock;
      if (copied !== undefined) {
        const from = this.firstBlock(copied.content) * blockBytes;
        const bytes = storedBlocks(copied.chunks * chunkBytes, digestsOf(this.#large, copied)) * blockBytes;
        await moveBytes(this.#file, from, this.#nextBlock * blockBytes, bytes);
        this.#nextBlock += bytes / blockBytes;
      }
    }
    if (batch.kinds[i] === batchKind.chunk) this.#append(runs, batch.offsets[i], batch.sizes[i]);
  }

  #endLarge(key: Uint8Array): void {
    const { sizeBytes, digests, isWriting, firstBlock } = this.#matcher.end();
    const known = this.#table.find(key, sizeBytes);
    this.#layer.push(known ?? this.#table.length);
    if (known !== undefined) return;
    if (!isWriting) throw new Error("a large content equals a known one and has another key");
    const content = this.#table.add(key, sizeBytes);
    this.#firstBlocks.push(firstBlock);
    this.#matcher.add(content, sizeBytes, digests);
  }

  async #writeRuns(batch: ContentBatch, runs: readonly Run[]): Promise<void> {
    await Promise.all(
      runs.map(({ offset, bytes, position }) =>
        this.#file.write(batch.data.subarray(offset, offset + bytes), position),
      ),
    );
  }

  /** Removes contents (ascending numbers, all of the current layer) and closes the gaps. */
  async #remove(gone: readonly number[], numbers: Uint32Array): Promise<void> {
    const first = gone[0];
    const isGone = new Set(gone);
    const kept: {
      digest: Uint8Array;
      sizeBytes: number;
      block: number;
      blocks: number;
      large: LargeContent | undefined;
    }[] = [];
    const renumbered = new Map<number, number>();
    for (let content = first; content < this.#table.length; content++) {
      const large = this.#large.get(content);
      const blocks = this.blockCount(content);
      if (large !== undefined) this.#matcher.remove(content);
      if (isGone.has(content)) continue;
      renumbered.set(content, first + kept.length);
      kept.push({
        digest: this.digest(content).slice(),
        sizeBytes: this.sizeBytes(content),
        block: this.firstBlock(content),
        blocks,
        large,
      });
    }
    this.#nextBlock = this.firstBlock(first);
    this.#table.truncate(first);
    this.#firstBlocks.truncate(first);
    for (const { digest, sizeBytes, block, blocks, large } of kept) {
      await moveBytes(this.#file, block * blockBytes, this.#nextBlock * blockBytes, blocks * blockBytes);
      const content = this.#table.add(digest, sizeBytes);
      this.#firstBlocks.push(this.#nextBlock);
      if (large !== undefined) this.#matcher.add(content, sizeBytes, large.digests);
      this.#nextBlock += blocks;
    }
    await this.#file.truncate(this.#nextBlock * blockBytes);
    for (let local = 0; local < numbers.length; local++)
      numbers[local] = renumbered.get(numbers[local]) ?? numbers[local];
  }
}

function digestsOf(
  large: ReadonlyMap<number, LargeContent>,
  { content, chunks }: { readonly content: number; readonly chunks: number },
): Uint8Array {
  return (large.get(content)?.digests ?? holeDigest).subarray(0, 32 * chunks);
}

export function isHole(digests: Uint8Array, chunk: number): boolean {
  for (let i = 32 * chunk; i < 32 * chunk + 32; i++) if (digests[i] !== 0) return false;
  return true;
}

/** Blocks of the chunks that are no holes; only the last chunk may be short. */
function storedBlocks(sizeBytes: number, digests: Uint8Array): number {
  let blocks = 0;
  for (let chunk = 0; chunk < digests.length / 32; chunk++)
    if (!isHole(digests, chunk)) blocks += Math.ceil(Math.min(chunkBytes, sizeBytes - chunk * chunkBytes) / blockBytes);
  return blocks;
}
