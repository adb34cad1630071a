/** Contents, or chunks of them, that lie one after the other or apart. */
export type CopyBatch = {
  /** Descriptor of the new disk's file. */
  readonly output: number;
  readonly count: number;
  /** Of each: first block on the older disk, first block on the new one, bytes (at most 1 MiB). */
  readonly places: Uint32Array<ArrayBuffer>;
  /** SHA-256 of each. */
  readonly digests: Uint8Array<ArrayBuffer>;
};

/** Blocks of the older disk, up to and without `end`. */
export type Blocks = { readonly start: number; readonly end: number };

export type FromCopyWorker =
  /** All of it; `read` is where it lay, in ranges as long as there are. */
  | { readonly type: "copied"; readonly read: readonly Blocks[] }
  /** What lies at this block of the older disk has another digest. */
  | { readonly type: "corrupt"; readonly block: number }
  /** What the system said; `code` and `syscall` are lost when an error passes between threads. */
  | {
      readonly type: "error";
      readonly message: string;
      readonly code: string | undefined;
      readonly syscall: string | undefined;
    };
