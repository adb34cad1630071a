import { createHash } from "node:crypto";
import type { Descriptor, Digest, Platform } from "./descriptor.ts";
import { isDigest } from "./descriptor.ts";
import {
  anything,
  array,
  naturalNumber,
  number,
  object,
  optional,
  orAbsent,
  readShape,
  record,
  type Shape,
  type Shaped,
  string,
  stringThat,
} from "./json-shape.ts";
import { OciError, printable } from "./oci-error.ts";

/** OCI image spec (media types) and Docker's image manifest version 2, schema 2. */
export const indexMediaTypes: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
export const manifestMediaTypes: readonly string[] = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
export const schema1MediaType = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/;
const configMediaTypes: readonly string[] = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
const layerMediaType =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.gzip|\.zstd)?)$/;

const digest = stringThat(isDigest, "a sha256 digest (no other kind is supported)");
const platform = object({ os: string, architecture: string, variant: orAbsent(string) });
const descriptor = object({
  mediaType: string,
  digest,
  size: naturalNumber,
  platform: orAbsent(platform),
  urls: orAbsent(array(string)),
  annotations: orAbsent(record(string)),
});
const index = object({ manifests: orAbsent(array(descriptor)) });
const manifest = object({
  artifactType: orAbsent(string),
  config: descriptor,
  layers: orAbsent(array(descriptor)),
});
const config = object({
  os: orAbsent(string),
  architecture: orAbsent(string),
  variant: orAbsent(string),
  created: orAbsent(string),
  rootfs: orAbsent(object({ diff_ids: orAbsent(array(digest)) })),
});
/** What tells the kinds of documents from each other. */
const anyDocument = object({
  mediaType: optional(string),
  schemaVersion: optional(number),
  manifests: anything,
  config: anything,
  layers: anything,
});

export type Manifest = { readonly config: Descriptor; readonly layers: readonly Descriptor[] };

export type ImageConfig = {
  readonly platform: Platform;
  readonly createdSeconds: number | undefined;
  readonly diffIDs: readonly Digest[];
};

/** Compares bytes with their descriptor. Throws `OciError` (size-mismatch, digest-mismatch). `what` names them. */
export function verifyBytes(expected: Descriptor, bytes: Uint8Array, what: string): void {
  if (bytes.length !== expected.size) {
    throw new OciError("size-mismatch", `${what} has ${bytes.length} bytes instead of ${expected.size}`);
  }
  const actual = digestOf(bytes);
  if (actual !== expected.digest) {
    throw new OciError("digest-mismatch", `${what} has the digest ${actual} instead of ${expected.digest}`);
  }
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/**
 * The media type of an index or manifest from the document itself and from what its source says of it; both must agree.
 * Throws `OciError` for schema 1, for documents that are both index and manifest (CVE-2021-41190), and for others.
 */
export function documentMediaType(bytes: Uint8Array, declared: string | undefined, what: string): string {
  const document = parse(anyDocument, bytes, what);
  const stated = document.mediaType;
  if (/manifest\.v1\+(?:json|prettyjws)$/.test(declared ?? stated ?? "") && document.schemaVersion !== 2)
    throw schema1(what);
  if (document.schemaVersion === 1) throw schema1(what);
  const isIndex = Array.isArray(document.manifests);
  const isManifest = typeof document.config === "object" || Array.isArray(document.layers);
  if (isIndex && isManifest) {
    throw new OciError("invalid-document", `${what} is an index and a manifest at once; refusing to choose`);
  }
  const known = [...indexMediaTypes, ...manifestMediaTypes];
  const served = declared !== undefined && known.includes(declared) ? declared : undefined;
  if (served !== undefined && stated !== undefined && served !== stated) {
    throw new OciError(
      "invalid-document",
      `${what} says it is "${printable(stated, 100)}" but is given as "${served}"`,
    );
  }
  const guessed = isIndex ? indexMediaTypes[0] : isManifest ? manifestMediaTypes[0] : undefined;
  const mediaType = served ?? stated ?? guessed;
  if (mediaType === undefined || !known.includes(mediaType)) {
    const shown = printable(mediaType ?? declared ?? "none", 100);
    throw new OciError("unsupported-media-type", `${what} is no image index or manifest (media type: ${shown})`);
  }
  if (guessed !== undefined && indexMediaTypes.includes(mediaType) !== isIndex) {
    throw new OciError("invalid-document", `${what} has the media type "${mediaType}" but the fields of another`);
  }
  return mediaType;
}

/** The manifests an index lists. Throws `OciError` (invalid-document, limit-exceeded). */
export function parseIndex(bytes: Uint8Array, maxEntries: number, what: string): readonly Descriptor[] {
  const { manifests = [] } = parse(index, bytes, what);
  if (manifests.length > maxEntries) throw tooMany(what, "manifests", manifests.length, maxEntries, "index-entries");
  return manifests.map(compact);
}

/** Throws `OciError` (invalid-document, not-an-image, limit-exceeded). */
export function parseManifest(bytes: Uint8Array, maxLayers: number, what: string): Manifest {
  const found = parse(manifest, bytes, what);
  const layers = found.layers ?? [];
  if (!configMediaTypes.includes(found.config.mediaType)) {
    const type = printable(found.artifactType ?? found.config.mediaType, 100);
    throw new OciError("not-an-image", `${what} is not a container image but an artifact of type "${type}"`);
  }
  if (layers.length > maxLayers) throw tooMany(what, "layers", layers.length, maxLayers, "image-layers");
  for (const [position, layer] of layers.entries()) {
    if (layerMediaType.test(layer.mediaType)) continue;
    const hint = layer.mediaType.endsWith("+encrypted") ? "; encrypted layers cannot be read" : "";
    const type = printable(layer.mediaType, 100);
    throw new OciError(
      "not-an-image",
      `Layer ${position + 1} of ${what} has the media type "${type}", which is no image layer${hint}`,
    );
  }
  return { config: compact(found.config), layers: layers.map(compact) };
}

/** Throws `OciError` (invalid-document). */
export function parseConfig(bytes: Uint8Array, layerCount: number, what: string): ImageConfig {
  const found = parse(config, bytes, what);
  if (found.os === undefined || found.architecture === undefined) {
    throw new OciError("invalid-document", `${what} does not say for which system and architecture the image is`);
  }
  const diffIDs = found.rootfs?.diff_ids ?? [];
  if (diffIDs.length !== layerCount) {
    const message = `${what} has ${diffIDs.length} rootfs.diff_ids but the manifest has ${layerCount} layers`;
    throw new OciError("invalid-document", message);
  }
  const { os, architecture, variant } = found;
  return {
    platform: { os, architecture, ...(variant !== undefined && variant !== "" && { variant }) },
    createdSeconds: createdSecondsOf(found.created),
    diffIDs,
  };
}

/** With its zone: without one, `Date.parse` would take that of this machine. */
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** `created` of a config: RFC 3339 as whole Unix seconds. Times before 1970 and Go's zero time count as none. */
export function createdSecondsOf(created: string | undefined): number | undefined {
  if (created === undefined || !rfc3339.test(created)) return undefined;
  const milliseconds = Date.parse(created);
  return milliseconds >= 0 ? Math.floor(milliseconds / 1000) : undefined;
}

function parse<T>(shape: Shape<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new OciError("invalid-document", `${what} is not JSON`, { cause: error });
  }
  const result = readShape(shape, value);
  if (!result.problem) return result.value;
  const { path, message } = result.problem;
  throw new OciError("invalid-document", `${what} is not valid: ${path && `${printable(path, 100)} `}${message}`);
}

/** Without keys whose value is absent. */
function compact(found: Shaped<typeof descriptor>): Descriptor {
  const { mediaType, digest, size, urls, annotations } = found;
  const of = found.platform;
  return {
    mediaType,
    digest,
    size,
    ...(of && { platform: { os: of.os, architecture: of.architecture, ...(of.variant && { variant: of.variant }) } }),
    ...(urls && { urls }),
    ...(annotations && { annotations }),
  };
}

function schema1(what: string): OciError {
  return new OciError(
    "unsupported-schema1",
    `${what} is a Docker image manifest of schema 1, which is no longer supported; push the image again with a current tool`,
  );
}

function tooMany(what: string, things: string, count: number, max: number, limit: string): OciError {
  return new OciError("limit-exceeded", `${what} has ${count} ${things}; the limit is ${max} (--limit ${limit}=N)`);
}
