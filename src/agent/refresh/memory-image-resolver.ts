import type { Digest, Platform } from "../../oci/descriptor.ts";
import { OciError } from "../../oci/oci-error.ts";
import { formatPlatform, normalizePlatform, platformRank } from "../../oci/platform.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import type { ImageResolver, ResolveTagOptions } from "./image-resolver.ts";

/** A registry in memory, for tests: tags that move, registries that fail. */
export class MemoryImageResolver implements ImageResolver {
  readonly #tags = new Map<string, Digest>();
  readonly #images = new Map<string, ResolvedImage[]>();
  readonly #failures = new Map<string, Error>();
  readonly problems: string[] = [];
  #isClosed = false;
  /** `host/repository:tag` of each `resolveTag`, `host/repository@digest` of each `openImage`, in their order. */
  readonly requests: string[] = [];

  /** Points a tag (`repository:tag` with its host) at a digest; `undefined` removes it. */
  setTag(reference: Reference, digest: Digest | undefined): void {
    const name = formatReference(reference);
    if (digest === undefined) this.#tags.delete(name);
    else this.#tags.set(name, digest);
  }

  /** Puts an image into a repository, found by the digest of its target or manifest; its platforms each by a call. */
  addImage(reference: Reference, image: ResolvedImage): void {
    for (const digest of new Set([image.target.digest, image.manifest.digest])) {
      const name = contentName(reference, digest);
      this.#images.set(name, [...(this.#images.get(name) ?? []), image]);
    }
  }

  /** Every request to a host fails so from now on; `undefined` ends that. */
  fail(host: string, failure: Error | undefined): void {
    if (failure === undefined) this.#failures.delete(host);
    else this.#failures.set(host, failure);
  }

  async resolveTag(reference: Reference, { signal }: ResolveTagOptions): Promise<Digest> {
    const { host, repository, tag = "latest" } = reference;
    const name = formatReference({ host, repository, tag });
    this.#ask(host, name, signal);
    const digest = this.#tags.get(name);
    if (digest === undefined) throw missing(name);
    return digest;
  }

  async openImage(
    reference: Reference,
    digest: Digest,
    platform: Platform,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ResolvedImage> {
    const name = contentName(reference, digest);
    this.#ask(reference.host, name, signal);
    const images = this.#images.get(name);
    if (images === undefined) throw missing(name);
    const ranked = images
      .map((image) => ({ image, rank: platformRank(platform, image.platform) }))
      .filter(({ rank }) => rank !== undefined)
      .sort((a, b) => Number(a.rank) - Number(b.rank));
    if (ranked[0] === undefined) {
      const wanted = formatPlatform(normalizePlatform(platform));
      throw new OciError("no-matching-platform", `${name} has no image for ${wanted}`);
    }
    return { ...ranked[0].image, names: [name] };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #ask(host: string, name: string, signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#isClosed) throw new OciError("registry-unreachable", `Cannot ask for ${name}: connections are closed`);
    this.requests.push(name);
    const failure = this.#failures.get(host);
    if (failure) throw failure;
  }
}

function contentName({ host, repository }: Reference, digest: Digest): string {
  return formatReference({ host, repository, digest });
}

function missing(name: string): OciError {
  return new OciError("not-found", `The registry has no ${name}`);
}
