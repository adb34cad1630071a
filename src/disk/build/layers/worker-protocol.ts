import type { LayerResult } from "../../../layers/read-layer.ts";
import type { Descriptor, Digest } from "../../../oci/descriptor.ts";
import type { ContentBatch } from "../contents/content-batch.ts";

/** What a worker does with one layer. */
export type LayerTask = {
  readonly descriptor: Descriptor;
  readonly diffID: Digest;
  /** See `DistinctLayer`. */
  readonly isBase: boolean;
  /** Values of `layerLimits` that differ from the defaults. */
  readonly limits: Readonly<Record<string, number>>;
};

export type ToWorker =
  | { readonly type: "layer"; readonly task: LayerTask }
  | { readonly type: "input"; readonly bytes: Uint8Array }
  | { readonly type: "input-end" }
  /** A batch has been taken; its buffer may be used again. */
  | { readonly type: "taken"; readonly data: Uint8Array };

export type FromWorker =
  | { readonly type: "batch"; readonly batch: ContentBatch }
  /** That many bytes of input were taken. */
  | { readonly type: "pulled"; readonly bytes: number }
  | { readonly type: "result"; readonly result: LayerResult }
  | { readonly type: "error"; readonly code: string | undefined; readonly message: string };

/** Batches that a worker may have given and not got back: how far it runs ahead, 4 MiB. */
export const batchesAhead = 4;

/** Bytes of input that a worker may hold. */
export const inputAheadBytes = 1 << 20;
