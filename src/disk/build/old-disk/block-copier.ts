import { hash } from "node:crypto";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { DiskError } from "../../disk-error.ts";
import type { DiskReader } from "../../reader/disk-reader.ts";
import type { PartialFile } from "../partial-file.ts";

/** Bytes that are read, compared and written at once. */
const runBytes = 4 << 20;

/** Runs under way: one is read and one written while one is hashed. */
const runsAhead = 3;

type Piece = { readonly offset: number; readonly bytes: number; readonly digest: Uint8Array };

type Run = { readonly from: number; readonly to: number; blocks: number; readonly pieces: Piece[] };

/** Copies blocks of an older disk into the new one. Every piece is compared with its digest before it is written. */
export class BlockCopier {
  readonly #disk: DiskReader;
  readonly #file: PartialFile;
  readonly #buffers: Uint8Array[] = [];
  readonly #running = new Set<Promise<void>>();
  #run: Run | undefined;
  #failure: unknown;

  constructor(disk: DiskReader, file: PartialFile) {
    this.#disk = disk;
    this.#file = file;
  }

  /**
   * Copies `bytes` ≤ 1 MiB with this digest from block `from` of the older disk to block `to` of the new one; what follows in the last
   * block becomes zeros. Throws what went wrong with earlier ones.
   */
  async add(from: number, to: number, bytes: number, digest: Uint8Array): Promise<void> {
    const blocks = Math.ceil(bytes / blockBytes);
    const run = this.#run;
    const goesOn =
      run !== undefined &&
      run.from + run.blocks === from &&
      run.to + run.blocks === to &&
      (run.blocks + blocks) * blockBytes <= runBytes;
    if (!goesOn) await this.#start();
    this.#run ??= { from, to, blocks: 0, pieces: [] };
    this.#run.pieces.push({ offset: this.#run.blocks * blockBytes, bytes, digest });
    this.#run.blocks += blocks;
  }

  /** Resolves when everything is written; throws `DiskError` `corrupt` where the older disk is not what its digests say. */
  async finish(): Promise<void> {
    await this.#start();
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #start(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    if (this.#failure !== undefined) throw this.#failure;
    if (run === undefined) return;
    while (this.#running.size >= runsAhead) await Promise.race(this.#running);
    const copying = this.#copy(run)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#running.delete(copying));
    this.#running.add(copying);
  }

  async #copy({ from, to, blocks, pieces }: Run): Promise<void> {
    const buffer = this.#buffers.pop() ?? new Uint8Array(runBytes);
    const data = buffer.subarray(0, blocks * blockBytes);
    await this.#disk.readBlocks(from, data);
    for (const { offset, bytes, digest } of pieces) {
      const end = offset + bytes;
      if (!hash("sha256", data.subarray(offset, end), "buffer").equals(digest))
        throw new DiskError(
          "corrupt",
          `${this.#disk.source.name}: the content at block ${from + offset / blockBytes} is not what its digest says; build without --from`,
        );
      data.fill(0, end, Math.ceil(end / blockBytes) * blockBytes);
    }
    await this.#file.write(data, to * blockBytes);
    this.#buffers.push(buffer);
  }
}
