import type { Platform } from "../descriptor.ts";
import type { OciLimits } from "../limits.ts";
import { formatReference, imageName, type Reference } from "../reference.ts";
import { resolveImage } from "../resolve-image.ts";
import type { ImageDocument, ImageSource, ResolvedImage } from "../resolved-image.ts";
import type { Repository } from "./endpoint.ts";
import type { RegistryClient } from "./registry-client.ts";

/** An image in a registry. The tag is looked up once, so all platforms come from the same index. */
export class RegistrySource implements ImageSource {
  readonly #reference: Reference;
  readonly #client: RegistryClient;
  readonly #limits: OciLimits;
  #target: ImageDocument | undefined;

  /** Does not close `client`. */
  constructor(reference: Reference, client: RegistryClient, limits: OciLimits) {
    this.#reference = reference;
    this.#client = client;
    this.#limits = limits;
  }

  async resolve(platform: Platform, { signal }: { readonly signal: AbortSignal }): Promise<ResolvedImage> {
    const client = this.#client;
    const repository: Repository = { host: this.#reference.host, path: this.#reference.repository };
    const what = formatReference(this.#reference);
    const wanted = this.#reference.digest ?? this.#reference.tag ?? "latest";
    const target = this.#target ?? (await client.resolve(repository, wanted, what, signal));
    this.#target = target;
    return resolveImage({
      what,
      names: [imageName(this.#reference)],
      targets: [target.descriptor],
      store: {
        async readDocument(descriptor, options) {
          if (descriptor.digest === target.descriptor.digest) return target.bytes;
          return client.readDocument(repository, descriptor, options);
        },
        openBlob: (descriptor, options) => client.openBlob(repository, descriptor, options),
      },
      limits: this.#limits,
      platform,
      signal,
    });
  }

  async close(): Promise<void> {}
}
