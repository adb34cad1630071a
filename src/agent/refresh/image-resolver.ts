import type { Digest, Platform } from "../../oci/descriptor.ts";
import type { Reference } from "../../oci/reference.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";

export type ResolveTagOptions = {
  readonly signal: AbortSignal;
  /** What the tag stood for when last asked: the registry can then answer that nothing has changed. */
  readonly known?: Digest;
};

/** What a registry says of tags and images, as this node's runtime would ask it. Every method throws `OciError`. */
export interface ImageResolver {
  /** What is wrong now with the way to registries though they may be reached, for a person; without secrets. */
  readonly problems: readonly string[];
  /** The digest that a tag stands for now. One request, mostly without a body; waits for its turn with that registry. */
  resolveTag(reference: Reference, options: ResolveTagOptions): Promise<Digest>;
  /** The image for a platform by its digest, ready to be fetched. `reference` says the repository; its tag does not count. */
  openImage(
    reference: Reference,
    digest: Digest,
    platform: Platform,
    options: { readonly signal: AbortSignal },
  ): Promise<ResolvedImage>;
  /** Ends connections; open images cannot be read any more. May be called twice. */
  close(): Promise<void>;
}
