import type { Descriptor, Platform } from "./descriptor.ts";
import {
  documentMediaType,
  indexMediaTypes,
  manifestMediaTypes,
  parseConfig,
  parseIndex,
  parseManifest,
  schema1MediaType,
  verifyBytes,
} from "./image-documents.ts";
import type { OciLimits } from "./limits.ts";
import { OciError } from "./oci-error.ts";
import { formatPlatform, normalizePlatform, platformRank } from "./platform.ts";
import type { ImageDocument, OpenLayerOptions, ResolvedImage } from "./resolved-image.ts";

/** Content by digest, as a registry's repository, a layout or an archive has it. */
export interface BlobStore {
  /** The bytes of a document, at most `maxBytes` (`limit` names that bound). Need not verify them. Throws `OciError`. */
  readDocument(descriptor: Descriptor, options: ReadDocumentOptions): Promise<Uint8Array>;
  /** The bytes of a blob from first to last; see `ResolvedImage.openLayer`. */
  openBlob(descriptor: Descriptor, options: OpenLayerOptions): AsyncIterable<Uint8Array>;
}

export type ReadDocumentOptions = {
  readonly kind: "manifest" | "config";
  readonly maxBytes: number;
  readonly limit: string;
  readonly signal: AbortSignal;
};

export type ResolveRequest = {
  /** The image in messages. */
  readonly what: string;
  readonly names: readonly string[];
  /** What the name may mean, in order; more than one only where a layout lists several under one name. */
  readonly targets: readonly Descriptor[];
  readonly store: BlobStore;
  readonly limits: OciLimits;
  readonly platform: Platform;
  readonly signal: AbortSignal;
};

type Found = {
  readonly documents: readonly ImageDocument[];
  readonly image: Omit<ResolvedImage, "names" | "openLayer">;
};

/**
 * Goes from an image's name to the config and layers for one platform, through indexes if need be, choosing as containerd's
 * `platforms.Only` does. Everything read is verified against its descriptor. Throws `OciError`.
 */
export async function resolveImage(request: ResolveRequest): Promise<ResolvedImage> {
  const walk = new Walk(request);
  const found = await walk.choose(request.targets, []);
  if (!found) throw walk.noMatch();
  return {
    ...found.image,
    names: request.names,
    openLayer(index, options) {
      const layer = found.image.layers[index];
      if (!layer) throw new RangeError(`${request.what} has no layer ${index}`);
      return request.store.openBlob(layer.descriptor, options);
    },
  };
}

class Walk {
  readonly #request: ResolveRequest;
  readonly #offered = new Set<string>();
  #documentsRead = 0;
  /** Content that an archive or registry lists but lacks; said if nothing else fits. */
  #missing: OciError | undefined;

  constructor(request: ResolveRequest) {
    this.#request = request;
  }

  noMatch(): OciError {
    if (this.#missing) return this.#missing;
    const { what, platform } = this.#request;
    const offered = [...this.#offered].sort();
    const list = offered.length === 0 ? "none" : offered.slice(0, 20).join(", ") + (offered.length > 20 ? ", …" : "");
    return new OciError(
      "no-matching-platform",
      `${what} has no image for ${formatPlatform(normalizePlatform(platform))}; there is: ${list}`,
    );
  }

  /** The first of `entries`, best platform first, that leads to an image. `above` are the indexes passed so far. */
  async choose(entries: readonly Descriptor[], above: readonly ImageDocument[]): Promise<Found | undefined> {
    for (const entry of this.#candidates(entries)) {
      try {
        const found = await this.#follow(entry, above);
        if (found) return found;
      } catch (error) {
        // An archive may hold only some of an index's platforms.
        if (!(error instanceof OciError) || error.code !== "not-found" || entries.length === 1) throw error;
        this.#missing ??= error;
      }
    }
    return undefined;
  }

  #candidates(entries: readonly Descriptor[]): Descriptor[] {
    const ranked: { entry: Descriptor; rank: number }[] = [];
    for (const entry of entries) {
      if (isAttestation(entry) || !isManifestOrIndex(entry)) continue;
      if (entry.platform) this.#offered.add(formatPlatform(normalizePlatform(entry.platform)));
      const rank = entry.platform ? platformRank(this.#request.platform, entry.platform) : Number.MAX_SAFE_INTEGER;
      if (rank !== undefined) ranked.push({ entry, rank });
    }
    return ranked.sort((a, b) => a.rank - b.rank).map(({ entry }) => entry);
  }

  async #follow(target: Descriptor, above: readonly ImageDocument[]): Promise<Found | undefined> {
    const { what, limits } = this.#request;
    const bytes = await this.#read(target, "manifest", limits["manifest-bytes"], "manifest-bytes");
    const name = above.length === 0 ? what : `${target.digest} of ${what}`;
    const mediaType = documentMediaType(bytes, target.mediaType, name);
    const document: ImageDocument = { descriptor: { ...target, mediaType }, bytes };
    if (!indexMediaTypes.includes(mediaType)) return this.#image(document, above, name);
    if (above.length >= limits["index-depth"]) {
      const message = `${what} nests more than ${limits["index-depth"]} indexes (--limit index-depth=N)`;
      throw new OciError("limit-exceeded", message);
    }
    return this.choose(parseIndex(bytes, limits["index-entries"], name), [...above, document]);
  }

  async #image(manifest: ImageDocument, above: readonly ImageDocument[], name: string): Promise<Found | undefined> {
    const { limits } = this.#request;
    const { config, layers } = parseManifest(manifest.bytes, limits["image-layers"], name);
    const bytes = await this.#read(config, "config", limits["config-bytes"], "config-bytes");
    const { platform, createdSeconds, diffIDs } = parseConfig(bytes, layers.length, `The config of ${name}`);
    // containerd too believes the index where it names a platform, and the config where it does not.
    if (!manifest.descriptor.platform && platformRank(this.#request.platform, platform) === undefined) {
      this.#offered.add(formatPlatform(normalizePlatform(platform)));
      return undefined;
    }
    const documents = [...above, manifest, { descriptor: config, bytes }].map((document) => ({
      descriptor: identity(document.descriptor),
      bytes: document.bytes,
    }));
    const image = {
      target: identity((documents[0] ?? manifest).descriptor),
      manifest: identity(manifest.descriptor),
      config: identity(config),
      platform: normalizePlatform(manifest.descriptor.platform ?? platform),
      createdSeconds,
      documents,
      layers: diffIDs.map((diffID, index) => ({ descriptor: layers[index], diffID })),
    };
    return { documents, image };
  }

  async #read(
    descriptor: Descriptor,
    kind: ReadDocumentOptions["kind"],
    maxBytes: number,
    limit: string,
  ): Promise<Uint8Array> {
    const { what, limits, store, signal } = this.#request;
    signal.throwIfAborted();
    this.#documentsRead++;
    if (this.#documentsRead > limits["index-documents"]) {
      const message = `${what} needs more than ${limits["index-documents"]} documents to be read (--limit index-documents=N)`;
      throw new OciError("limit-exceeded", message);
    }
    const name = `The ${kind} ${descriptor.digest} of ${what}`;
    if (descriptor.size > maxBytes) throw documentTooLarge(name, maxBytes, limit);
    const bytes = await store.readDocument(descriptor, { kind, maxBytes, limit, signal });
    verifyBytes(descriptor, bytes, name);
    return bytes;
  }
}

export function documentTooLarge(what: string, maxBytes: number, limit: string): OciError {
  return new OciError("limit-exceeded", `${what} is larger than ${maxBytes} bytes (--limit ${limit}=BYTES)`);
}

/** Without what differs between the places an image can come from. */
function identity({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

/** BuildKit lists provenance and SBOMs as manifests for `unknown/unknown`. */
function isAttestation(entry: Descriptor): boolean {
  if (entry.annotations?.["vnd.docker.reference.type"] !== undefined) return true;
  return entry.platform?.os === "unknown" && entry.platform.architecture === "unknown";
}

function isManifestOrIndex(entry: Descriptor): boolean {
  return (
    [...indexMediaTypes, ...manifestMediaTypes].includes(entry.mediaType) || schema1MediaType.test(entry.mediaType)
  );
}
