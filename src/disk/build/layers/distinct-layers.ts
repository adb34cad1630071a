import { type Descriptor, type Digest, digestHex } from "../../../oci/descriptor.ts";
import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import { DiskError } from "../../disk-error.ts";

/** One compressed form of a layer and where to get it. */
export type LayerBlob = {
  readonly descriptor: Descriptor;
  readonly image: ResolvedImage;
  /** Index of the layer in `image`. */
  readonly index: number;
};

/** A layer that one or more images have; several compressed forms may unpack to it. */
export type DistinctLayer = {
  readonly diffID: Digest;
  /** Ordered by digest; the first is the one that is read. */
  readonly blobs: readonly LayerBlob[];
  /** Every image that has it has it as its lowest layer: its whiteouts have nothing to hide, and containerd makes none. */
  readonly isBase: boolean;
};

/**
 * The layers of all images, each once, in the order in which their contents stand on the disk. Throws `DiskError` when manifests
 * differ in the size of a blob: only one of them would be compared with what is read.
 */
export function distinctLayers(images: readonly ResolvedImage[]): DistinctLayer[] {
  const byDiffID = new Map<Digest, Map<Digest, LayerBlob>>();
  const notBase = new Set<Digest>();
  const sizes = new Map<Digest, { readonly size: number; readonly image: ResolvedImage }>();
  for (const image of images)
    image.layers.forEach(({ descriptor, diffID }, index) => {
      if (index > 0) notBase.add(diffID);
      const known = sizes.get(descriptor.digest) ?? { size: descriptor.size, image };
      sizes.set(descriptor.digest, known);
      if (known.size !== descriptor.size)
        throw new DiskError(
          "invalid-image",
          `images ${imageLabel(known.image)} and ${imageLabel(image)}: layer ${descriptor.digest} has ${known.size} bytes in one manifest, ${descriptor.size} in the other; leave out the one that is wrong`,
        );
      const blobs = byDiffID.get(diffID) ?? new Map<Digest, LayerBlob>();
      if (!blobs.has(descriptor.digest)) blobs.set(descriptor.digest, { descriptor, image, index });
      byDiffID.set(diffID, blobs);
    });
  const byHex = (a: Digest, b: Digest): number => (digestHex(a) < digestHex(b) ? -1 : 1);
  return [...byDiffID.keys()].sort(byHex).map((diffID) => ({
    diffID,
    blobs: [...(byDiffID.get(diffID) ?? new Map<Digest, LayerBlob>()).values()].sort((a, b) =>
      byHex(a.descriptor.digest, b.descriptor.digest),
    ),
    isBase: !notBase.has(diffID),
  }));
}

/** How errors and progress call an image. */
export function imageLabel(image: ResolvedImage): string {
  return image.names[0] ?? image.target.digest;
}
