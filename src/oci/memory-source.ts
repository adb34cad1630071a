import type { Descriptor, Digest, Platform } from "./descriptor.ts";
import type { OciLimits } from "./limits.ts";
import { OciError } from "./oci-error.ts";
import { type BlobStore, resolveImage } from "./resolve-image.ts";
import type { ImageSource, ResolvedImage } from "./resolved-image.ts";

export type MemoryImage = {
  readonly names: readonly string[];
  readonly target: Descriptor;
  readonly blobs: ReadonlyMap<Digest, Uint8Array>;
};

/** An image whose content is in memory. */
export class MemorySource implements ImageSource {
  readonly #image: MemoryImage;
  readonly #limits: OciLimits;

  constructor(image: MemoryImage, limits: OciLimits) {
    this.#image = image;
    this.#limits = limits;
  }

  async resolve(platform: Platform, { signal }: { readonly signal: AbortSignal }): Promise<ResolvedImage> {
    const { names, target, blobs } = this.#image;
    const what = names[0] ?? target.digest;
    return resolveImage({
      what,
      names,
      targets: [target],
      store: memoryStore(blobs),
      limits: this.#limits,
      platform,
      signal,
    });
  }

  async close(): Promise<void> {}
}

/** Blobs of at most this many bytes at a time. */
const pieceBytes = 64 << 10;

function memoryStore(blobs: ReadonlyMap<Digest, Uint8Array>): BlobStore {
  const find = ({ digest }: Descriptor): Uint8Array => {
    const blob = blobs.get(digest);
    if (!blob) throw new OciError("not-found", `There is no blob ${digest}`);
    return blob;
  };
  return {
    async readDocument(descriptor) {
      return find(descriptor);
    },
    async *openBlob(descriptor, { signal, range: { offset, length } = { offset: 0, length: descriptor.size } }) {
      const blob = find(descriptor).subarray(offset, offset + length);
      for (let start = 0; start < blob.length; start += pieceBytes) {
        signal.throwIfAborted();
        yield new Uint8Array(blob.subarray(start, start + pieceBytes));
      }
    },
  };
}
