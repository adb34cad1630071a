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
  /** `digest`: hex SHA-256 of all input. The main thread has more time for it than the one of the layer whose turn it is. */
  | { readonly type: "input-end"; readonly digest: string }
  /** A batch has been taken; its buffer may be used again. */
  | { readonly type: "taken"; readonly data: Uint8Array };

export type FromWorker =
  | { readonly type: "batch"; readonly batch: ContentBatch }
  /** An input has been used; its buffer may be used again if it is shared. */
  | { readonly type: "used"; readonly sizeBytes: number; readonly shared: Uint8Array | undefined }
  | { readonly type: "result"; readonly result: LayerResult }
  | { readonly type: "error"; readonly code: string | undefined; readonly message: string };

/** Bytes of input that a worker may have got and not used. */
export const inputAheadBytes = 3 << 20;
