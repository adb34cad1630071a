/**
 * A run of `ContentSink` calls in packed form, so that contents cross threads without a copy. Record `i` has kind `kinds[i]`, size
 * `sizes[i]` in bytes, digest `digests[32 i …]`, and its bytes at `offsets[i]` in `data`, padded with zeros to whole blocks.
 */
export type ContentBatch = {
  readonly count: number;
  readonly kinds: Uint8Array;
  readonly sizes: Float64Array;
  readonly digests: Uint8Array;
  readonly offsets: Uint32Array;
  readonly data: Uint8Array;
};

export const batchKind = {
  /** A whole content of at most 1 MiB. */
  small: 0,
  beginLarge: 1,
  chunk: 2,
  hole: 3,
  /** The content is new to its layer; the digest is its key. */
  endLarge: 4,
  /** The layer has had the content before. */
  endRepeated: 5,
} as const;

/** Bytes of contents in a batch: room for a whole chunk. */
export const batchBytes = 1 << 20;

/** Records of a batch at most: small contents take a block each, large ones two records more. */
export const batchRecords = 512;
