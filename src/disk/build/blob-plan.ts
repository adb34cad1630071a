import { blockBytes } from "../../filesystem/erofs/constants.ts";
import { type Descriptor, type Digest, digestHex } from "../../oci/descriptor.ts";
import type { ImageDocument, ResolvedImage } from "../../oci/resolved-image.ts";

export type PlannedBlob = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly firstBlock: number;
};

/** The blobs of a disk, ordered by digest, from block 1; their sizes are known before anything is read. */
export type BlobPlan = {
  readonly blobs: ReadonlyMap<Digest, PlannedBlob>;
  readonly documents: readonly ImageDocument[];
  /** The block behind the last blob. */
  readonly endBlock: number;
};

/** `withLayers`: also the compressed layers. */
export function planBlobs(images: readonly ResolvedImage[], withLayers: boolean): BlobPlan {
  const documents = new Map<Digest, ImageDocument>();
  const descriptors = new Map<Digest, Descriptor>();
  for (const image of images) {
    for (const document of image.documents) {
      documents.set(document.descriptor.digest, document);
      descriptors.set(document.descriptor.digest, document.descriptor);
    }
    if (withLayers) for (const { descriptor } of image.layers) descriptors.set(descriptor.digest, descriptor);
  }
  const blobs = new Map<Digest, PlannedBlob>();
  let block = 1;
  for (const digest of [...descriptors.keys()].sort((a, b) => (digestHex(a) < digestHex(b) ? -1 : 1))) {
    const sizeBytes = descriptors.get(digest)?.size ?? 0;
    blobs.set(digest, { digest, sizeBytes, firstBlock: block });
    block += Math.ceil(sizeBytes / blockBytes);
  }
  return { blobs, documents: [...documents.values()], endBlock: block };
}
