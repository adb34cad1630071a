import { createHash } from "node:crypto";
import { blockBytes } from "../../filesystem/erofs/constants.ts";
import type { RandomAccessOutput } from "../../filesystem/erofs/writer/output.ts";
import { chunkBytes } from "../../layers/content.ts";
import { type areaKind, filesFormat } from "../files-format.ts";
import type { ContentStore } from "./contents/content-store.ts";

export type Area = {
  readonly kind: (typeof areaKind)[keyof typeof areaKind];
  readonly firstBlock: number;
  readonly blockCount: number;
  /** SHA-256 of each 1 MiB. */
  readonly digests: readonly Uint8Array[];
};

const { headerBytes, smallBytes, largeBytes, digestBytes, areaBytes } = filesFormat;

/** Digests of an area as it stands in the file. */
export async function digestArea(
  output: RandomAccessOutput,
  kind: Area["kind"],
  firstBlock: number,
  blockCount: number,
): Promise<Area> {
  const digests: Uint8Array[] = [];
  const buffer = new Uint8Array(Math.min(chunkBytes, blockCount * blockBytes));
  for (let done = 0; done < blockCount * blockBytes; done += chunkBytes) {
    const piece = buffer.subarray(0, Math.min(chunkBytes, blockCount * blockBytes - done));
    await output.read(piece, firstBlock * blockBytes + done);
    digests.push(createHash("sha256").update(piece).digest());
  }
  return { kind, firstBlock, blockCount, digests };
}

export function filesTableBytes(contents: ContentStore, areas: readonly Omit<Area, "digests">[]): number {
  let large = 0;
  let chunks = 0;
  for (let content = 0; content < contents.length; content++) {
    const found = contents.large(content);
    if (found === undefined) continue;
    large++;
    chunks += found.digests.length / digestBytes;
  }
  for (const { blockCount } of areas) chunks += Math.ceil((blockCount * blockBytes) / chunkBytes);
  return (
    headerBytes +
    (contents.length - large) * smallBytes +
    large * largeBytes +
    chunks * digestBytes +
    areas.length * areaBytes
  );
}

/** Writes `/nodewarm.files` at `position`; returns its SHA-256, which is the disk's id. */
export async function writeFilesTable(
  output: RandomAccessOutput,
  position: number,
  contents: ContentStore,
  areas: readonly Area[],
): Promise<Uint8Array> {
  const large: number[] = [];
  for (let content = 0; content < contents.length; content++)
    if (contents.large(content) !== undefined) large.push(content);
  const writer = new TableWriter(output, position);

  const largeChunks = large.reduce(
    (sum, content) => sum + (contents.large(content)?.digests.length ?? 0) / digestBytes,
    0,
  );
  const areaChunks = areas.reduce((sum, area) => sum + area.digests.length, 0);
  const header = writer.record(headerBytes);
  header.bytes.set(Buffer.from(filesFormat.magic, "latin1"), 0);
  header.u32(8, contents.length - large.length);
  header.u32(12, large.length);
  header.u32(16, largeChunks + areaChunks);
  header.u32(20, areas.length);

  for (let content = 0; content < contents.length; content++) {
    if (contents.large(content) !== undefined) continue;
    const record = writer.record(smallBytes);
    record.bytes.set(contents.digest(content), 0);
    record.u32(32, contents.firstBlock(content));
    record.u32(36, contents.sizeBytes(content));
    await writer.settle();
  }
  let chunk = 0;
  for (const content of large) {
    const found = contents.large(content);
    if (found === undefined) continue;
    const record = writer.record(largeBytes);
    const sizeBytes = contents.sizeBytes(content);
    record.u32(0, sizeBytes % 2 ** 32);
    record.u32(4, Math.floor(sizeBytes / 2 ** 32));
    record.u32(8, contents.firstBlock(content));
    record.u32(12, chunk);
    record.u32(16, found.storedChunks);
    chunk += found.digests.length / digestBytes;
    await writer.settle();
  }
  for (const content of large) {
    const digests = contents.large(content)?.digests ?? new Uint8Array(0);
    for (let i = 0; i < digests.length; i += digestBytes) {
      writer.record(digestBytes).bytes.set(digests.subarray(i, i + digestBytes));
      await writer.settle();
    }
  }
  for (const { digests } of areas)
    for (const digest of digests) {
      writer.record(digestBytes).bytes.set(digest);
      await writer.settle();
    }
  for (const { firstBlock, blockCount, digests, kind } of areas) {
    const record = writer.record(areaBytes);
    record.u32(0, firstBlock);
    record.u32(4, blockCount);
    record.u32(8, chunk);
    record.u32(12, kind);
    chunk += digests.length;
    await writer.settle();
  }
  return writer.finish();
}

/** Writes and hashes records through one buffer of 1 MiB. */
class TableWriter {
  readonly #output: RandomAccessOutput;
  readonly #hash = createHash("sha256");
  readonly #buffer = Buffer.allocUnsafeSlow(1 << 20);
  readonly #view = new DataView(this.#buffer.buffer);
  #position: number;
  #used = 0;

  constructor(output: RandomAccessOutput, position: number) {
    this.#output = output;
    this.#position = position;
  }

  /** Room for a record of at most 64 bytes, zeroed; valid until `settle`. */
  record(bytes: number): { readonly bytes: Uint8Array; u32(offset: number, value: number): void } {
    const start = this.#used;
    this.#used += bytes;
    return {
      bytes: this.#buffer.subarray(start, this.#used).fill(0),
      u32: (offset, value) => this.#view.setUint32(start + offset, value, true),
    };
  }

  /** Makes room for the next record. */
  settle(): Promise<void> | undefined {
    return this.#used + 64 > this.#buffer.length ? this.#write() : undefined;
  }

  async finish(): Promise<Uint8Array> {
    await this.#write();
    return this.#hash.digest();
  }

  async #write(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#used);
    this.#hash.update(bytes);
    await this.#output.write(bytes, this.#position);
    this.#position += bytes.length;
    this.#used = 0;
  }
}
