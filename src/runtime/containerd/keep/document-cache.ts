import { chainIDs } from "../../../disk/build/chain.ts";
import { type Digest, isDigest, type Platform } from "../../../oci/descriptor.ts";
import { createdSecondsOf, digestOf, indexMediaTypes, manifestMediaTypes } from "../../../oci/image-documents.ts";
import { array, object, orAbsent, readShape, type Shaped, string, stringThat } from "../../../oci/json-shape.ts";
import { platformRank } from "../../../oci/platform.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContentReader } from "../client/content.ts";

/** What matters of a document of an image, once read. */
export type KnownDocument = { readonly mediaType: string; readonly sizeBytes: number } & (
  | {
      readonly kind: "index";
      /** Those that may be for the platform, in the order in which containerd tries them. */
      readonly manifests: readonly Digest[];
    }
  | { readonly kind: "manifest"; readonly config: Digest }
  | {
      readonly kind: "config";
      /** ChainID of all layers; `undefined` without layers. */
      readonly top: Digest | undefined;
      readonly isForPlatform: boolean;
      /** Unix seconds. */
      readonly createdSeconds: number | undefined;
    }
  /** Damaged, or no document of an image. */
  | { readonly kind: "unusable"; readonly reason: string }
);

const digest = stringThat(isDigest, "a digest");
const platformShape = object({ os: string, architecture: string, variant: orAbsent(string) });
const anyDocument = object({
  mediaType: orAbsent(string),
  /** Of a manifest a descriptor, of a config what containers run. */
  config: orAbsent(object({ digest: orAbsent(string) })),
  manifests: orAbsent(array(object({ digest: string, platform: orAbsent(platformShape) }))),
  os: orAbsent(string),
  architecture: orAbsent(string),
  variant: orAbsent(string),
  created: orAbsent(string),
  rootfs: orAbsent(object({ diff_ids: orAbsent(array(digest)) })),
});
type AnyDocument = Shaped<typeof anyDocument>;

/** Three documents of each image, and many images. An entry takes some hundred bytes. */
const maxDocuments = 3000;
const maxDocumentBytes = 16 << 20;

/** What was read of documents, by digest: it holds for ever. Whether a document is still there is for the caller to see. */
export class DocumentCache {
  readonly #platform: Platform;
  readonly #known = new Map<Digest, KnownDocument>();

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** `undefined` when it is not there. Throws `RuntimeError`, or the reason of the signal. */
  async read(content: ContentReader, digest: Digest, signal: AbortSignal): Promise<KnownDocument | undefined> {
    const known = this.#known.get(digest);
    if (known !== undefined) {
      // The map is in the order of use.
      this.#known.delete(digest);
      this.#known.set(digest, known);
      return known;
    }
    const bytes = await readBytes(content, digest, signal);
    if (bytes === undefined) return undefined;
    // A file that a power cut left may be put right: what is wrong is not remembered.
    if (bytes === "too large") return unusable(maxDocumentBytes, "it is larger than any document of an image");
    if (digestOf(bytes) !== digest) return unusable(bytes.length, "its bytes have another digest");
    const document = parse(bytes, this.#platform);
    this.#known.set(digest, document);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxDocuments) break;
      this.#known.delete(oldest);
    }
    return document;
  }
}

function unusable(sizeBytes: number, reason: string): KnownDocument {
  return { kind: "unusable", mediaType: "", sizeBytes, reason };
}

function parse(bytes: Uint8Array, platform: Platform): KnownDocument {
  const sizeBytes = bytes.length;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return unusable(sizeBytes, "it is not JSON");
  }
  const { value, problem } = readShape(anyDocument, json);
  if (problem !== undefined) return unusable(sizeBytes, `it is no document of an image: ${problem.message}`);
  const { mediaType, config, manifests, rootfs } = value;
  if (manifests !== undefined) {
    const type = mediaType ?? indexMediaTypes[0] ?? "";
    return { kind: "index", mediaType: type, sizeBytes, manifests: candidates(manifests, platform) };
  }
  if (rootfs === undefined && config?.digest !== undefined && isDigest(config.digest)) {
    const type = mediaType ?? manifestMediaTypes[0] ?? "";
    return { kind: "manifest", mediaType: type, sizeBytes, config: config.digest };
  }
  const { os = "", architecture = "", variant } = value;
  const offered = { os, architecture, ...(variant && { variant }) };
  return {
    kind: "config",
    mediaType: "application/vnd.oci.image.config.v1+json",
    sizeBytes,
    top: chainIDs(rootfs?.diff_ids ?? []).at(-1),
    isForPlatform: platformRank(platform, offered) !== undefined,
    createdSeconds: createdSecondsOf(value.created),
  };
}

/** By how well they fit, as containerd takes them (`core/images/image.go`, Manifest); those that do not say come last. */
function candidates(manifests: NonNullable<AnyDocument["manifests"]>, wanted: Platform): Digest[] {
  const last = Number.MAX_SAFE_INTEGER;
  return manifests
    .flatMap(({ digest, platform }) => {
      if (!isDigest(digest)) return [];
      if (platform === undefined) return [{ digest, rank: last }];
      const { os, architecture, variant } = platform;
      const rank = platformRank(wanted, { os, architecture, ...(variant && { variant }) });
      return rank === undefined ? [] : [{ digest, rank }];
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ digest }) => digest);
}

async function readBytes(
  content: ContentReader,
  digest: Digest,
  signal: AbortSignal,
): Promise<Uint8Array | "too large" | undefined> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of content.read(digest, { signal })) {
      bytes += piece.length;
      if (bytes > maxDocumentBytes) return "too large";
      pieces.push(piece);
    }
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return undefined;
    throw error;
  }
  return Buffer.concat(pieces);
}
