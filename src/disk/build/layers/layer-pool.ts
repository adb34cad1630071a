import { createHash } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { LayerError, type LayerErrorCode } from "../../../layers/layer-error.ts";
import type { LayerResult } from "../../../layers/read-layer.ts";
import { YoungGarbage } from "../../../layers/young-garbage.ts";
import { copyBytes } from "../../../oci/copy-bytes.ts";
import { isSharedPiece, pieceBytes, recyclePiece, unfilledPiece } from "../../../oci/piece-buffers.ts";
import type { ContentBatch } from "../contents/content-batch.ts";
import type { LayerReader, RunningLayer } from "./layer-reader.ts";
import { type FromWorker, inputAheadBytes, type LayerTask, type ToWorker } from "./worker-protocol.ts";

/** Pieces of at least this size are not worth gathering into larger ones. */
const largePieceBytes = 256 << 10;

/** The default would let each thread keep tens of MiB of short-lived objects. */
const maxYoungGenerationSizeMb = 3;

type Slot = { readonly worker: Worker; busy: boolean; failure: unknown };

/** Worker threads that read layers; each reads one at a time. They start when they are needed. */
export class LayerPool implements LayerReader {
  readonly #slots: Slot[] = [];
  readonly #threads: number;
  readonly #waiting: ((slot: Slot) => void)[] = [];

  constructor(threads: number) {
    this.#threads = threads;
  }

  async start(
    task: LayerTask,
    input: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    onRead: (bytes: number) => void,
  ): Promise<RunningLayer> {
    const slot = await this.#acquire();
    if (slot.failure !== undefined) throw slot.failure;
    return runLayer(slot.worker, task, input, signal, onRead, () => this.#release(slot));
  }

  async close(): Promise<void> {
    await Promise.all(this.#slots.map(({ worker }) => worker.terminate()));
  }

  async #acquire(): Promise<Slot> {
    let free = this.#slots.find(({ busy }) => !busy);
    if (free === undefined && this.#slots.length < this.#threads) {
      free = startThread();
      this.#slots.push(free);
    }
    if (free === undefined) return new Promise((resolve) => this.#waiting.push(resolve));
    free.busy = true;
    return free;
  }

  #release(slot: Slot): void {
    const next = this.#waiting.shift();
    if (next === undefined) slot.busy = false;
    else next(slot);
  }
}

function startThread(): Slot {
  // Beside this file, be it a source or the bundle.
  const worker = new Worker(new URL(`./layer-worker${extname(import.meta.filename)}`, import.meta.url), {
    resourceLimits: { maxYoungGenerationSizeMb },
  });
  const slot: Slot = { worker, busy: false, failure: undefined };
  // Without a layer nobody else listens; the next one is told.
  worker.on("error", (error) => {
    slot.failure = error;
  });
  return slot;
}

function runLayer(
  worker: Worker,
  task: LayerTask,
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  onRead: (bytes: number) => void,
  release: () => void,
): RunningLayer {
  const batches: ContentBatch[] = [];
  let result: LayerResult | undefined;
  let failure: unknown;
  let hasEnded = false;
  let wake: (() => void) | undefined;
  let inputAhead = 0;
  let wakeFeed: (() => void) | undefined;
  const post = (message: ToWorker, transfer: ArrayBuffer[] = []): void => worker.postMessage(message, transfer);
  const ending = Promise.withResolvers<void>();
  // Not every caller waits for it.
  ending.promise.catch(() => {});

  const end = (error?: unknown): void => {
    if (hasEnded) return;
    hasEnded = true;
    failure = error;
    worker.off("message", onMessage);
    worker.off("error", end);
    signal.removeEventListener("abort", stop);
    wake?.();
    wakeFeed?.();
    if (error === undefined) {
      release();
      ending.resolve();
    } else ending.reject(error);
  };
  // Also what waits for the worker, which may be waiting for its turn, must let go of its input.
  const stop = (): void => end(signal.reason);
  const onMessage = (message: FromWorker): void => {
    switch (message.type) {
      case "batch":
        batches.push(message.batch);
        wake?.();
        return;
      case "used":
        inputAhead -= message.sizeBytes;
        if (message.shared !== undefined) recyclePiece(message.shared);
        wakeFeed?.();
        return;
      case "result":
        result = message.result;
        end();
        return;
      case "error":
        end(
          message.code === undefined
            ? new Error(message.message)
            : new LayerError(message.code as LayerErrorCode, message.message),
        );
        return;
    }
  };
  worker.on("message", onMessage);
  worker.on("error", end);
  signal.addEventListener("abort", stop);

  const feed = async (): Promise<void> => {
    const hash = createHash("sha256");
    let read = 0;
    for await (const bytes of gathered(input, task.descriptor.size)) {
      signal.throwIfAborted();
      if (hasEnded) return;
      const sizeBytes = bytes.length;
      inputAhead += sizeBytes;
      read += sizeBytes;
      hash.update(bytes);
      post({ type: "input", bytes }, bytes.buffer instanceof ArrayBuffer ? [bytes.buffer] : []);
      onRead(read);
      while (inputAhead > inputAheadBytes && !hasEnded)
        await new Promise<void>((resolve) => {
          wakeFeed = resolve;
        });
      if (hasEnded) return;
    }
    post({ type: "input-end", digest: hash.digest("hex") });
  };
  post({ type: "layer", task });
  feed().catch(end);

  return {
    ended: ending.promise,
    nextBatch: async () => {
      while (batches.length === 0 && !hasEnded)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      const batch = batches.shift();
      if (batch === undefined && failure !== undefined) throw failure;
      return batch;
    },
    taken: ({ data }) => post({ type: "taken", data }),
    result: () => {
      if (result === undefined) throw new Error("the layer has not ended");
      return result;
    },
  };
}

/** The same bytes in large pieces, each alone in its memory; those that come so are passed on. */
async function* gathered(input: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncIterable<Uint8Array> {
  const garbage = new YoungGarbage();
  let left = sizeBytes;
  let piece: Uint8Array | undefined;
  let used = 0;
  for await (const bytes of input) {
    garbage.add(bytes.length);
    if (used === 0 && isLargeAndAlone(bytes)) {
      left -= bytes.length;
      yield bytes;
      continue;
    }
    for (let done = 0; done < bytes.length; ) {
      piece ??= unfilledPiece(Math.max(1, Math.min(pieceBytes, left)));
      const length = Math.min(bytes.length - done, piece.length - used);
      copyBytes(piece, bytes.subarray(done, done + length), used);
      used += length;
      done += length;
      if (used < piece.length) continue;
      left -= used;
      yield piece;
      piece = undefined;
      used = 0;
    }
  }
  if (piece !== undefined) yield isSharedPiece(piece) ? piece.subarray(0, used) : piece.slice(0, used);
}

function isLargeAndAlone(bytes: Uint8Array): boolean {
  return isSharedPiece(bytes) || (bytes.length >= largePieceBytes && bytes.length === bytes.buffer.byteLength);
}
