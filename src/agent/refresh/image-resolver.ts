import type { Digest, Platform } from "../../oci/descriptor.ts";
import type { Reference } from "../../oci/reference.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";

/** What a registry says of tags and images, as this node's runtime would ask it. Every method throws `OciError`. */
export interface ImageResolver {
  /** The digest that a tag stands for now. One request, mostly without a body; waits for its turn with that registry. */
  resolveTag(reference: Reference, options: { readonly signal: AbortSignal }): Promise<Digest>;
  /** The image for a platform by its digest, ready to be fetched. `reference` says the repository; its tag does not count. */
  openImage(
    reference: Reference,
    digest: Digest,
    platform: Platform,
    options: { readonly signal: AbortSignal },
  ): Promise<ResolvedImage>;
  close(): Promise<void>;
}
