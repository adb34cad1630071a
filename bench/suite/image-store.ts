import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { BenchCache } from "./cache.ts";
import { type LayerCounts, TarScanner } from "./tar-scanner.ts";

/** A layer in the registry's storage, with what its tar holds. */
export type StoredLayer = LayerCounts & {
  readonly digest: string;
  readonly diffID: string;
  readonly compressedBytes: number;
  readonly tarBytes: number;
};

export type StoredImage = {
  /** Repository name and tag, without a registry. */
  readonly name: string;
  readonly manifestDigest: string;
  readonly configDigest: string;
  readonly layers: readonly StoredLayer[];
};

export type Tar = AsyncIterable<Buffer>;

const ociManifest = "application/vnd.oci.image.manifest.v1+json";

/** The storage folder of docker-registry, filled without the registry: its layout is part of its documented file driver. */
export class ImageStore {
  readonly #cache: BenchCache;
  readonly #tagSuffix: string;

  /** `tagSuffix` keeps the images of one scale apart from those of another. */
  constructor(cache: BenchCache, tagSuffix: string) {
    this.#cache = cache;
    this.#tagSuffix = tagSuffix;
  }

  /** The layer of a recipe: from the cache, else made from what `tar` gives. `recipe` must change when the tar does. */
  async layer(recipe: string, tar: () => Tar | Promise<Tar>, gzipLevel = 6): Promise<StoredLayer> {
    const base = join(this.#cache.layers, recipe.replaceAll(/[^A-Za-z0-9._-]+/g, "_"));
    if (existsSync(`${base}.json`)) return JSON.parse(await readFile(`${base}.json`, "utf8"));
    process.stderr.write(`bench: layer ${recipe}\n`);
    const partial = join(this.#cache.work, `layer-${randomUUID()}`);
    const scanner = new TarScanner();
    const uncompressed = meter((chunk) => scanner.push(chunk));
    const compressed = meter();
    await pipeline(
      Readable.from(await tar()),
      uncompressed.stream,
      createGzip({ level: gzipLevel, chunkSize: 1 << 18 }),
      compressed.stream,
      createWriteStream(partial),
    );
    const layer: StoredLayer = {
      ...scanner.counts,
      digest: compressed.digest(),
      diffID: uncompressed.digest(),
      compressedBytes: compressed.bytes(),
      tarBytes: uncompressed.bytes(),
    };
    await this.#place(layer.digest, partial);
    await writeFile(join(this.#cache.layers, `${layer.diffID.slice(7)}.contents`), scanner.contents);
    await writeFile(`${base}.json.new`, JSON.stringify(layer));
    await rename(`${base}.json.new`, `${base}.json`);
    return layer;
  }

  /** Writes config and manifest, and names the image `nameAndTag` with the suffix. */
  async image(nameAndTag: string, layers: readonly StoredLayer[], command: readonly string[]): Promise<StoredImage> {
    const config = await this.#document({
      created: "2024-01-01T00:00:00Z",
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Cmd: command },
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffID) },
    });
    const manifest = await this.#document({
      schemaVersion: 2,
      mediaType: ociManifest,
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
      layers: layers.map((layer) => ({
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        digest: layer.digest,
        size: layer.compressedBytes,
      })),
    });
    const name = `${nameAndTag}${this.#tagSuffix}`;
    const [repository, tag] = name.split(":");
    const folder = join(this.#cache.registry, "docker/registry/v2/repositories", repository);
    for (const digest of [config.digest, ...layers.map((layer) => layer.digest)]) {
      await link(join(folder, "_layers/sha256", digest.slice(7)), digest);
    }
    await link(join(folder, "_manifests/revisions/sha256", manifest.digest.slice(7)), manifest.digest);
    await link(join(folder, "_manifests/tags", tag, "index/sha256", manifest.digest.slice(7)), manifest.digest);
    await link(join(folder, "_manifests/tags", tag, "current"), manifest.digest);
    return { name, manifestDigest: manifest.digest, configDigest: config.digest, layers };
  }

  /** Path of the compressed blob of a layer. */
  blobPath(digest: string): string {
    const hex = digest.slice(7);
    return join(this.#cache.registry, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
  }

  /** The content records of a layer, see `contentRecordBytes`. */
  contents(layer: StoredLayer): AsyncIterable<Buffer> {
    const path = join(this.#cache.layers, `${layer.diffID.slice(7)}.contents`);
    return createReadStream(path, { highWaterMark: 1 << 20 });
  }

  async #document(value: unknown): Promise<{ digest: string; size: number }> {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const partial = join(this.#cache.work, `document-${randomUUID()}`);
    await writeFile(partial, bytes);
    await this.#place(digest, partial);
    return { digest, size: bytes.length };
  }

  async #place(digest: string, partial: string): Promise<void> {
    const path = this.blobPath(digest);
    await mkdir(dirname(path), { recursive: true });
    await rename(partial, path);
  }
}

async function link(folder: string, digest: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "link"), digest);
}

function meter(observe: (chunk: Buffer) => void = () => {}): {
  stream: Transform;
  digest: () => string;
  bytes: () => number;
} {
  const hash = createHash("sha256");
  let bytes = 0;
  const stream = new Transform({
    highWaterMark: 1 << 20,
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      observe(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  return { stream, digest: () => `sha256:${hash.digest("hex")}`, bytes: () => bytes };
}
