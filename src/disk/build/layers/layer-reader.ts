import type { LayerResult } from "../../../layers/read-layer.ts";
import type { ContentBatch } from "../contents/content-batch.ts";
import type { LayerTask } from "./worker-protocol.ts";

/** One layer while it is read: batches of contents, then the result. */
export interface RunningLayer {
  /** The next batch, or `undefined` when there are no more. Throws what ended the layer. */
  nextBatch(): Promise<ContentBatch | undefined>;
  /** Gives a batch's buffer back. Without it the layer stops after a while. */
  taken(batch: ContentBatch): void;
  /** After the last batch. */
  result(): LayerResult;
  /** Rejects when the layer fails, which may be long before its batches are asked for. */
  readonly ended: Promise<void>;
}

/** Reads layers, some at once. */
export interface LayerReader {
  /**
   * Begins to read a layer as soon as there is room for one more, which it waits for. `onRead` gets compressed bytes so far. When
   * `signal` aborts, the layer ends with its reason and lets go of `input`; what has not begun to be read may throw it or never start.
   */
  start(
    task: LayerTask,
    input: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
    onRead: (bytes: number) => void,
  ): Promise<RunningLayer>;
  /** No more will be started; what is under way may end in any way. */
  close(): Promise<void>;
}
