import { layerLimits } from "../../../layers/limits.ts";
import { type LayerResult, readLayer } from "../../../layers/read-layer.ts";
import { limitValues } from "../../../oci/limit.ts";
import { recyclePiece } from "../../../oci/piece-buffers.ts";
import { Semaphore } from "../../../oci/registry/semaphore.ts";
import { untilAborted } from "../../../oci/until-aborted.ts";
import { BatchSink } from "../contents/batch-sink.ts";
import { batchBytes, type ContentBatch } from "../contents/content-batch.ts";
import type { LayerReader, RunningLayer } from "./layer-reader.ts";
import { releasing } from "./releasing.ts";
import type { LayerTask } from "./worker-protocol.ts";

/** Reads layers in the thread that also writes them: for so little that threads would take longer to start than to read it. */
export class OwnThread implements LayerReader {
  readonly #places: Semaphore;

  /** Reads as many `layers` at once: while one waits for its bytes, another goes on. */
  constructor(layers: number) {
    this.#places = new Semaphore(layers);
  }

  async start(
    task: LayerTask,
    input: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    onRead: (bytes: number) => void,
  ): Promise<RunningLayer> {
    const release = await this.#places.acquire(signal);
    return runLayer(task, input, signal, onRead, release);
  }

  async close(): Promise<void> {}
}

function runLayer(
  task: LayerTask,
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
  release: () => void,
): RunningLayer {
  const batches: ContentBatch[] = [];
  let result: LayerResult | undefined;
  let hasEnded = false;
  let wake: (() => void) | undefined;
  const sink = new BatchSink(
    (batch) => {
      batches.push(batch);
      wake?.();
    },
    () => Buffer.allocUnsafeSlow(batchBytes),
    signal,
  );
  const read = async (): Promise<void> => {
    const { descriptor, diffID, isBase } = task;
    const limits = limitValues(layerLimits, task.limits);
    const pieces = releasing(input, recyclePiece);
    result = await readLayer({ input: pieces, descriptor, diffID, isBase, sink, limits, signal, onProgress });
    sink.flush();
  };
  const reading = read();
  reading.catch(() => {});
  // An input that hangs must not hold up what is aborted.
  const ended = untilAborted(reading, signal).finally(() => {
    hasEnded = true;
    release();
    wake?.();
  });
  // Not every caller waits for it.
  ended.catch(() => {});
  return {
    ended,
    nextBatch: async () => {
      while (batches.length === 0 && !hasEnded)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      const batch = batches.shift();
      if (batch === undefined) await ended;
      return batch;
    },
    taken: ({ data }) => sink.taken(data),
    result: () => {
      if (result === undefined) throw new Error("the layer has not ended");
      return result;
    },
  };
}
