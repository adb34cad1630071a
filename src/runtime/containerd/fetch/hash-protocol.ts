/** What is said between `PrefixHash` and its thread. */
export type ToHashWorker =
  /** Begins anew with the file at `path`. */
  | { readonly type: "begin"; readonly id: number; readonly path: string }
  /** The file is whole up to `end`. */
  | { readonly type: "advance"; readonly id: number; readonly end: number }
  /** Asks for the digest of what came before. */
  | { readonly type: "finish"; readonly id: number }
  /** No more of it. */
  | { readonly type: "drop"; readonly id: number };

export type FromHashWorker =
  | { readonly type: "digest"; readonly id: number; readonly hex: string }
  | { readonly type: "failed"; readonly id: number; readonly message: string };
