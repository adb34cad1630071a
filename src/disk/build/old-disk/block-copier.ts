import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { DiskError } from "../../disk-error.ts";
import { dropFromPageCache } from "../page-cache.ts";
import type { LentWriter } from "../partial-file.ts";
import type { Blocks, CopyBatch, FromCopyWorker } from "./copy-protocol.ts";
import { unreadable } from "./unreadable.ts";

const batchPieces = 256;
const batchBlocks = (4 << 20) / blockBytes;

/** Pieces that may wait to be copied, 44 bytes each: planning runs ahead, so that its thread and the copying ones are all busy. */
const piecesAhead = 64 << 10;

/** More would only wait for memory and storage. */
const mostThreads = 2;

const maxYoungGenerationSizeMb = 3;

/** `sent` has the sizes of the batches that it has not answered. */
type Thread = {
  readonly worker: Worker;
  readonly sent: { readonly pieces: number; readonly blocks: number }[];
  blocks: number;
};

/**
 * Copies blocks of an older disk into the new one, in threads. Every piece is compared with its digest before it is written. Ends with
 * `stop`.
 */
export class BlockCopier implements LentWriter {
  readonly #name: string;
  readonly #descriptor: number;
  readonly #signal: AbortSignal;
  readonly #threads: Thread[] = [];
  readonly #batch = new BatchBuilder();
  #output: number | undefined;
  #onWritten: (bytes: number) => void = () => {};
  #outstanding = 0;
  #first = Number.POSITIVE_INFINITY;
  #end = 0;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];
  #forgetting: Promise<void> = Promise.resolve();

  /**
   * Starts the threads, since that takes a while. `descriptor` is the older disk's, open until this is stopped: a path may lead to another file
   * before all is copied. `name` is what messages call it. When `signal` aborts, copying stops at once and what waits for it throws the reason.
   */
  constructor(name: string, descriptor: number, signal: AbortSignal) {
    this.#name = name;
    this.#descriptor = descriptor;
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort);
    try {
      while (this.#threads.length < Math.min(mostThreads, availableParallelism()))
        this.#threads.push(this.#startThread());
    } catch (error) {
      void this.stop();
      throw error;
    }
  }

  /** To be called before anything is added. */
  start(output: number, onWritten: (bytes: number) => void): void {
    this.#output = output;
    this.#onWritten = onWritten;
  }

  /**
   * Copies `bytes` ≤ 1 MiB with this digest from block `from` of the older disk to block `to` of the new one; what follows in the last
   * block becomes zeros. Wait for what it returns before the next one. Throws what went wrong with earlier ones.
   */
  add(from: number, to: number, bytes: number, digest: Uint8Array): Promise<void> | undefined {
    const end = to + Math.ceil(bytes / blockBytes);
    this.#first = Math.min(this.#first, to);
    this.#end = Math.max(this.#end, end);
    this.#batch.add(from, to, bytes, digest, end - to);
    if (this.#batch.isFull) this.#send();
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#outstanding > piecesAhead ? this.#until(() => this.#outstanding <= piecesAhead) : undefined;
  }

  /** Sends what has been added on its way, however little. */
  flush(): void {
    if (this.#batch.count > 0) this.#send();
  }

  /**
   * Resolves when everything that overlaps a range of the new disk is written. Throws what went wrong, `DiskError` `corrupt` where the
   * older disk is not what its digests say, `unreadable` where it cannot be read.
   */
  async settle(position = 0, bytes = Number.POSITIVE_INFINITY): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (position >= this.#end * blockBytes || position + bytes <= this.#first * blockBytes) return;
    this.flush();
    await this.#until(() => this.#outstanding === 0);
    this.#first = Number.POSITIVE_INFINITY;
    this.#end = 0;
  }

  /** Resolves when nothing more will be written. May be called twice. */
  async stop(): Promise<void> {
    this.#signal.removeEventListener("abort", this.#abort);
    this.#fail(new Error("copying has been stopped"));
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
    await this.#forgetting;
  }

  #startThread(): Thread {
    const worker = new Worker(new URL(`./copy-worker${extname(import.meta.filename)}`, import.meta.url), {
      workerData: `/proc/self/fd/${this.#descriptor}`,
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    const thread: Thread = { worker, sent: [], blocks: 0 };
    worker.on("message", (message: FromCopyWorker) => this.#take(thread, message));
    worker.on("error", (error) => this.#fail(error));
    return thread;
  }

  #send(): void {
    if (this.#output === undefined) throw new Error("there is nothing to copy to");
    const { count, blocks } = this.#batch;
    const batch = this.#batch.take(this.#output);
    if (this.#failure !== undefined) return;
    this.#outstanding += count;
    const thread = this.#threads.reduce((least, other) => (other.blocks < least.blocks ? other : least));
    thread.sent.push({ pieces: count, blocks });
    thread.blocks += blocks;
    thread.worker.postMessage(batch, [batch.places.buffer, batch.digests.buffer]);
  }

  #take(thread: Thread, message: FromCopyWorker): void {
    switch (message.type) {
      case "copied": {
        const batch = thread.sent.shift();
        if (batch === undefined) return;
        this.#outstanding -= batch.pieces;
        thread.blocks -= batch.blocks;
        this.#onWritten(batch.blocks * blockBytes);
        for (const blocks of message.read) this.#forget(blocks);
        this.#wake();
        return;
      }
      case "corrupt":
        this.#fail(
          new DiskError(
            "corrupt",
            `${this.#name}: the content at block ${message.block} is not what its digest says; build without --from`,
          ),
        );
        return;
      case "error": {
        const { code, syscall } = message;
        const isWriting = syscall === "write";
        this.#fail(
          isWriting
            ? Object.assign(new Error(message.message), { code, syscall })
            : unreadable(this.#name, message.message),
        );
        return;
      }
    }
  }

  /**
   * What others have mapped stays in the page cache; what they have only read goes, too. This is not for the threads: one that is terminated
   * in koffi's call takes the process with it.
   */
  #forget({ start, end }: Blocks): void {
    this.#forgetting = this.#forgetting.then(() =>
      dropFromPageCache(this.#descriptor, start * blockBytes, (end - start) * blockBytes),
    );
  }

  readonly #abort = (): void => {
    this.#fail(this.#signal.reason);
    for (const { worker } of this.#threads) void worker.terminate();
  };

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (this.#failure === undefined && !isSo())
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

class BatchBuilder {
  readonly #places = new Uint32Array(3 * batchPieces);
  readonly #digests = new Uint8Array(32 * batchPieces);
  blocks = 0;
  count = 0;

  get isFull(): boolean {
    return this.count === batchPieces || this.blocks >= batchBlocks;
  }

  add(from: number, to: number, bytes: number, digest: Uint8Array, blocks: number): void {
    const at = 3 * this.count;
    this.#places[at] = from;
    this.#places[at + 1] = to;
    this.#places[at + 2] = bytes;
    this.#digests.set(digest, 32 * this.count);
    this.blocks += blocks;
    this.count++;
  }

  /** What was added, in buffers of its own; begins anew. */
  take(output: number): CopyBatch {
    const { count } = this;
    this.count = 0;
    this.blocks = 0;
    return { output, count, places: this.#places.slice(0, 3 * count), digests: this.#digests.slice(0, 32 * count) };
  }
}
