import { createHash, type Hash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import { type Descriptor, type Digest, digestHex, type Platform } from "../../src/oci/descriptor.ts";

/** Makes images for tests in an OCI layout folder. Every blob is streamed into `blobs/sha256`, so layers may be large. */

export type Compression = "gzip" | "zstd" | "none";

/** Bytes, or the path of a file. */
export type Bytes = Uint8Array | string;

export type LayerInput = {
  readonly tar: Bytes;
  /** Default: gzip. */
  readonly compression?: Compression;
  /** For gzip: 1 to 9, default 6. */
  readonly level?: number;
  /** The stored blob itself where the caller has compressed it (eStargz, zstd:chunked, broken streams); `tar` gives the diffID. */
  readonly blob?: Bytes;
  readonly mediaType?: string;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
};

export type MadeLayer = { readonly descriptor: Descriptor; readonly diffID: Digest; readonly tarBytes: number };

export type ImageInput = {
  readonly layers: readonly (LayerInput | MadeLayer)[];
  /** Default: linux/amd64. */
  readonly platform?: Platform;
  /** Media types of the OCI image spec or of Docker's image manifest 2.2. Default: oci. */
  readonly format?: "oci" | "docker";
  /** RFC 3339. */
  readonly created?: string;
  /** The `config` key of the config: `Cmd`, `Env`... */
  readonly run?: Readonly<Record<string, unknown>>;
  /** Keys that replace those of the config document. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Keys that replace those of the manifest. */
  readonly manifest?: Readonly<Record<string, unknown>>;
};

export type MadeImage = {
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly MadeLayer[];
};

export const mediaTypes = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  ociLayer: "application/vnd.oci.image.layer.v1.tar",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
} as const;

export function sha256(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export function blobPath(layoutDirectory: string, digest: Digest): string {
  return join(layoutDirectory, "blobs", "sha256", digestHex(digest));
}

/** Stores `bytes` as a blob; its descriptor. */
export async function addBlob(layoutDirectory: string, bytes: Bytes, mediaType: string): Promise<Descriptor> {
  const { digest, size } = await storeBlob(layoutDirectory, source(bytes), []);
  return { mediaType, digest, size };
}

/** Stores `value` as a JSON blob; its descriptor. */
export async function addDocument(layoutDirectory: string, value: unknown, mediaType: string): Promise<Descriptor> {
  return addBlob(layoutDirectory, Buffer.from(JSON.stringify(value)), mediaType);
}

/** Compresses and stores one layer; may be used in several images. */
export async function addLayer(
  layoutDirectory: string,
  input: LayerInput,
  format: "oci" | "docker" = "oci",
): Promise<MadeLayer> {
  const compression = input.compression ?? "gzip";
  const tar = meter();
  let stored: { digest: Digest; size: number };
  if (input.blob === undefined) {
    stored = await storeBlob(layoutDirectory, source(input.tar), [
      tar.stream,
      ...compressors(compression, input.level),
    ]);
  } else {
    await pipeline(source(input.tar), tar.stream, new Transform({ transform: (_chunk, _encoding, done) => done() }));
    stored = await storeBlob(layoutDirectory, source(input.blob), []);
  }
  const descriptor: Descriptor = {
    mediaType: input.mediaType ?? layerMediaType(format, compression),
    digest: stored.digest,
    size: stored.size,
    ...(input.urls && { urls: input.urls }),
    ...(input.annotations && { annotations: input.annotations }),
  };
  return { descriptor, diffID: tar.digest(), tarBytes: tar.bytes() };
}

/** Stores an image's layers, config and manifest. The image has no name until `tagInLayout` or `pushToRegistry`. */
export async function makeImage(layoutDirectory: string, input: ImageInput): Promise<MadeImage> {
  const format = input.format ?? "oci";
  const layers: MadeLayer[] = [];
  for (const layer of input.layers) {
    layers.push("diffID" in layer ? layer : await addLayer(layoutDirectory, layer, format));
  }
  const platform = input.platform ?? { os: "linux", architecture: "amd64" };
  const config = await addDocument(
    layoutDirectory,
    {
      ...(input.created !== undefined && { created: input.created }),
      ...platform,
      ...(input.run && { config: input.run }),
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffID) },
      ...input.config,
    },
    format === "oci" ? mediaTypes.ociConfig : mediaTypes.dockerConfig,
  );
  const mediaType = format === "oci" ? mediaTypes.ociManifest : mediaTypes.dockerManifest;
  const document = {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map((layer) => layer.descriptor),
    ...input.manifest,
  };
  const manifest = await addDocument(layoutDirectory, document, mediaType);
  return { manifest: { ...manifest, platform }, config, layers };
}

/** Stores an index over manifests (their descriptors carry the platform) or over other indexes. */
export async function makeIndex(
  layoutDirectory: string,
  manifests: readonly Descriptor[],
  format: "oci" | "docker" = "oci",
): Promise<Descriptor> {
  const mediaType = format === "oci" ? mediaTypes.ociIndex : mediaTypes.dockerIndex;
  return addDocument(layoutDirectory, { schemaVersion: 2, mediaType, manifests }, mediaType);
}

/** Names `target` in the layout's `index.json`: `tag` becomes `org.opencontainers.image.ref.name`. */
export async function tagInLayout(
  layoutDirectory: string,
  target: Descriptor,
  tag?: string,
  annotations: Readonly<Record<string, string>> = {},
): Promise<void> {
  const path = join(layoutDirectory, "index.json");
  const manifests: Descriptor[] = JSON.parse(await readFile(path, "utf8").catch(() => '{"manifests":[]}')).manifests;
  const named = { ...(tag !== undefined && { "org.opencontainers.image.ref.name": tag }), ...annotations };
  manifests.push(
    Object.keys(named).length === 0 ? target : { ...target, annotations: { ...target.annotations, ...named } },
  );
  await writeFile(path, JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  await writeFile(join(layoutDirectory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
}

export type PushOptions = {
  /** Such as `http://127.0.0.1:5000`. */
  readonly origin: string;
  readonly repository: string;
  readonly tag?: string;
  /** Value of the `Authorization` header. */
  readonly authorization?: string;
  /** Leave out blobs for which this is true, such as foreign layers. */
  readonly omit?: (descriptor: Descriptor) => boolean;
};

/** Pushes a manifest or index of the layout with everything below it; blobs that the registry has are not sent again. */
export async function pushToRegistry(layoutDirectory: string, target: Descriptor, options: PushOptions): Promise<void> {
  const document = await readFile(blobPath(layoutDirectory, target.digest));
  const { manifests, config, layers } = JSON.parse(document.toString()) as {
    manifests?: Descriptor[];
    config?: Descriptor;
    layers?: Descriptor[];
  };
  for (const manifest of manifests ?? []) {
    await pushToRegistry(layoutDirectory, manifest, { ...options, tag: manifest.digest });
  }
  for (const blob of [...(config ? [config] : []), ...(layers ?? [])]) {
    if (!options.omit?.(blob)) await pushBlob(layoutDirectory, blob, options);
  }
  const reference = options.tag ?? target.digest;
  await request("PUT", `${options.origin}/v2/${options.repository}/manifests/${reference}`, options, {
    headers: { "content-type": target.mediaType },
    body: document,
  });
}

async function pushBlob(layoutDirectory: string, blob: Descriptor, options: PushOptions): Promise<void> {
  const base = `${options.origin}/v2/${options.repository}/blobs`;
  const head = await fetch(`${base}/${blob.digest}`, { method: "HEAD", headers: authorization(options) });
  if (head.ok) return;
  const started = await request("POST", `${base}/uploads/`, options, {});
  const location = new URL(started.headers.get("location") ?? "", options.origin);
  location.searchParams.set("digest", blob.digest);
  const body = Readable.toWeb(createReadStream(blobPath(layoutDirectory, blob.digest)));
  const headers = { "content-type": "application/octet-stream", "content-length": String(blob.size) };
  await request("PUT", location.href, options, { headers, body: body as ReadableStream, duplex: "half" });
}

async function request(method: string, url: string, options: PushOptions, init: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...init, method, headers: { ...init.headers, ...authorization(options) } });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
  return response;
}

function authorization(options: PushOptions): Record<string, string> {
  return options.authorization === undefined ? {} : { authorization: options.authorization };
}

function layerMediaType(format: "oci" | "docker", compression: Compression): string {
  const base = format === "oci" ? mediaTypes.ociLayer : mediaTypes.dockerLayer;
  if (compression === "none") return base;
  return `${base}${format === "docker" ? "." : "+"}${compression}`;
}

function source(bytes: Bytes): Readable {
  return typeof bytes === "string" ? createReadStream(bytes, { highWaterMark: 1 << 20 }) : Readable.from([bytes]);
}

function compressors(compression: Compression, level?: number): Transform[] {
  if (compression === "gzip") return [createGzip(level === undefined ? {} : { level })];
  return compression === "zstd" ? [createZstdCompress()] : [];
}

function meter(): { stream: Transform; digest: () => Digest; bytes: () => number } {
  const hash: Hash = createHash("sha256");
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  let digest: Digest | undefined;
  return { stream, digest: () => (digest ??= `sha256:${hash.digest("hex")}`), bytes: () => bytes };
}

async function storeBlob(
  layoutDirectory: string,
  from: Readable,
  through: readonly Transform[],
): Promise<{ digest: Digest; size: number }> {
  const directory = join(layoutDirectory, "blobs", "sha256");
  await mkdir(directory, { recursive: true });
  const partial = join(layoutDirectory, `.partial-${randomUUID()}`);
  const blob = meter();
  const file = await open(partial, "wx");
  await pipeline([from, ...through, blob.stream, file.createWriteStream()]);
  const digest = blob.digest();
  await rename(partial, join(directory, digestHex(digest)));
  return { digest, size: blob.bytes() };
}

/** Copies `target` and everything below it between layouts (by hard link). */
export async function copyBetweenLayouts(from: string, to: string, target: Descriptor): Promise<void> {
  await mkdir(join(to, "blobs", "sha256"), { recursive: true });
  await rm(blobPath(to, target.digest), { force: true });
  await link(blobPath(from, target.digest), blobPath(to, target.digest));
  if (!/(manifest|index|list)[.\w]*\+json$/.test(target.mediaType)) return;
  const document = JSON.parse(await readFile(blobPath(from, target.digest), "utf8"));
  for (const below of [...(document.manifests ?? []), document.config, ...(document.layers ?? [])]) {
    if (below) await copyBetweenLayouts(from, to, below);
  }
}
