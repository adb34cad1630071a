import type { Descriptor, Digest, Platform } from "./descriptor.ts";

/** A small document of an image (index, manifest or config) whose bytes were checked against its descriptor. */
export type ImageDocument = {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
};

export type ResolvedLayer = {
  readonly descriptor: Descriptor;
  /** SHA-256 of the uncompressed tar, from the config's `rootfs.diff_ids`. */
  readonly diffID: Digest;
};

/** Bytes of a blob from `offset` on; `length` is at least 1, and both lie within the blob. */
export type ByteRange = { readonly offset: number; readonly length: number };

export type OpenLayerOptions = {
  readonly signal: AbortSignal;
  /**
   * Only these bytes. A source that can give blobs only from their beginning throws `no-ranges` for any other offset. Default: all.
   */
  readonly range?: ByteRange;
};

/** One image for one platform, as its source describes it. Layers are not yet read. */
export type ResolvedImage = {
  /** Normalised references without digest, such as `docker.io/library/nginx:1.25`; `repo@digest` when asked for by digest. May be empty. */
  readonly names: readonly string[];
  /** What the name resolves to: an index, or the manifest itself. */
  readonly target: Descriptor;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly platform: Platform;
  /** `created` of the config as Unix seconds, where the config has one. */
  readonly createdSeconds: number | undefined;
  /** Indexes from the target downwards (if any), the manifest, the config: in this order, all verified. */
  readonly documents: readonly ImageDocument[];
  readonly layers: readonly ResolvedLayer[];
  /**
   * The bytes of layer `index` as stored (compressed), from the first to the last that are asked for. Retries and resumes by itself.
   * The bytes are not verified: the reader compares size and digest with the descriptor. A piece that fills its whole `ArrayBuffer` is the
   * reader's own from then on.
   * Throws `OciError`; ends early only by throwing. Stops when `signal` aborts.
   */
  openLayer(index: number, options: OpenLayerOptions): AsyncIterable<Uint8Array>;
};

/** Where images come from: a registry, an OCI layout, an archive. */
export interface ImageSource {
  /** The image for `platform`. Throws `OciError` when there is none. */
  resolve(platform: Platform, options: { readonly signal: AbortSignal }): Promise<ResolvedImage>;
  /** Closes files and connections. May be called twice. */
  close(): Promise<void>;
}
