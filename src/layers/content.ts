/**
 * File contents leave a layer in tar order, each distinct one once. A content of at most `chunkBytes` is one piece with
 * the SHA-256 of its bytes. A larger one is a sequence of chunks of `chunkBytes` (the last may be shorter), each with its
 * own SHA-256; the content's key is the SHA-256 of the concatenated chunk digests. A chunk that lies wholly in a hole of
 * a sparse tar entry has no bytes and the digest `holeDigest`.
 */
export const chunkBytes = 1 << 20;

/** Stands for a chunk without bytes: 32 zeros. */
export const holeDigest = new Uint8Array(32);

/**
 * Receives the contents of one layer. Contents are numbered from 0 by their first call here; a content that the layer
 * already gave (same key and size) is not given again.
 * `data` is only valid during the call. All calls are made in order and none waits for another.
 */
export interface ContentSink {
  /** A whole content of 1 to `chunkBytes` bytes. */
  small(digest: Uint8Array, data: Uint8Array): void;
  /** Begins a content of `sizeBytes` > `chunkBytes`. It gets a number only if `endLarge` says that it is new. */
  beginLarge(sizeBytes: number): void;
  /** The next chunk; `data` is `undefined` for a hole. */
  chunk(digest: Uint8Array, data: Uint8Array | undefined): void;
  /** `isNew` is false when this layer has given the same content before: what came since `beginLarge` is void. */
  endLarge(key: Uint8Array, isNew: boolean): void;
  /**
   * Memory in which the data of the next `small` or `chunk`, of at most `sizeBytes`, can be put together: it is not copied then. Valid until
   * the next call of anything but `ready`; it may also be left unused.
   */
  room(sizeBytes: number): Uint8Array;
  /** Resolves when more may be given; awaited between pieces of input, so that memory stays bounded. */
  ready(): Promise<void>;
}
