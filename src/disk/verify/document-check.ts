import { z } from "zod";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { readWholeFile } from "../../filesystem/erofs/reader/file-data.ts";
import { lookup } from "../../filesystem/erofs/reader/lookup.ts";
import { type Digest, digestHex, isDigest } from "../../oci/descriptor.ts";
import type { IndexImage } from "../reader/disk-index.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import type { Blob } from "./blob-hashes.ts";

const maxDocumentBytes = 64 << 20;
const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "no sha256 digest");
const descriptor = z.object({ mediaType: z.string().optional(), digest, size: z.number() });
const indexDocument = z.object({ manifests: z.array(descriptor) });
const manifestDocument = z.object({ config: descriptor, layers: z.array(descriptor) });
const configDocument = z.object({ rootfs: z.object({ diff_ids: z.array(digest) }) });

type Described = { readonly digest: string; readonly size: number };

/**
 * Checks that the documents of each image are among the blobs with their sizes, lead from one to the other, and say of its
 * layers what the index says; and that there are no other blobs. Digests of blobs are checked elsewhere.
 */
export async function checkDocuments(
  disk: DiskReader,
  blobs: readonly Blob[],
  problems: ProblemList,
  signal?: AbortSignal,
): Promise<void> {
  const check = new DocumentCheck(disk, blobs, problems);
  for (const [i, image] of disk.index.images.entries()) {
    signal?.throwIfAborted();
    if (problems.isFull) return;
    await check.image(image, `/nodewarm.json: images[${i}]`);
  }
  check.reportUnused();
}

class DocumentCheck {
  readonly #disk: DiskReader;
  readonly #problems: ProblemList;
  readonly #sizes: Map<string, number>;
  readonly #unused: Set<string>;
  readonly #isNoIndex: ReadonlySet<string>;

  constructor(disk: DiskReader, blobs: readonly Blob[], problems: ProblemList) {
    this.#disk = disk;
    this.#problems = problems;
    this.#sizes = new Map(blobs.map(({ hex, inode }) => [hex, inode.sizeBytes]));
    this.#unused = new Set(this.#sizes.keys());
    this.#isNoIndex = new Set(disk.index.images.flatMap(({ manifest, config }) => [manifest.digest, config.digest]));
  }

  async image(image: IndexImage, place: string): Promise<void> {
    for (const wanted of [image.target, image.manifest, image.config]) this.#need(wanted, place);
    if (this.#disk.index.blobs) for (const layer of image.layers) this.#need(layer, place);
    if (
      image.target.digest !== image.manifest.digest &&
      !(await this.#leadsTo(image.target.digest, image, new Set()))
    ) {
      this.#problems.add(place, "target does not lead to the manifest");
    }
    const manifest = await this.#read(image.manifest.digest, manifestDocument);
    if (manifest !== undefined) {
      if (!isSame(manifest.config, image.config)) this.#problems.add(place, "config is not that of the manifest");
      const same =
        manifest.layers.length === image.layers.length &&
        manifest.layers.every((layer, i) => isSame(layer, image.layers[i]));
      if (!same) this.#problems.add(place, "layers are not those of the manifest");
    }
    const config = await this.#read(image.config.digest, configDocument);
    const diffIDs = image.layers.map(({ diffID }) => diffID);
    if (config !== undefined && config.rootfs.diff_ids.join() !== diffIDs.join()) {
      this.#problems.add(place, "diffIDs are not those of the config");
    }
  }

  reportUnused(): void {
    for (const hex of this.#unused) this.#problems.add(`/blobs/sha256/${hex}`, "belongs to no image");
  }

  #need(wanted: Described, place: string): void {
    const hex = wanted.digest.slice("sha256:".length);
    const size = this.#sizes.get(hex);
    if (size === undefined) this.#problems.add(place, `needs the blob ${wanted.digest}, which is not on the disk`);
    else if (size !== wanted.size) {
      this.#problems.add(place, `says ${wanted.size} bytes for ${wanted.digest}, which has ${size}`);
    }
    this.#unused.delete(hex);
  }

  /** Whether the index `from` has the manifest in it, perhaps by indexes on the disk; those in `seen` have been looked at. */
  async #leadsTo(from: Digest, image: IndexImage, seen: Set<Digest>): Promise<boolean> {
    seen.add(from);
    const document = await this.#read(from, indexDocument);
    if (document === undefined) return false;
    if (document.manifests.some((entry) => isSame(entry, image.manifest))) return true;
    for (const entry of document.manifests) {
      const hex = digestHex(entry.digest);
      if (!this.#sizes.has(hex) || seen.has(entry.digest) || this.#isNoIndex.has(entry.digest)) continue;
      if (await this.#leadsTo(entry.digest, image, seen)) {
        this.#unused.delete(hex);
        return true;
      }
    }
    return false;
  }

  /** Undefined when it is not there or (reported) no such document. */
  async #read<T>(of: Digest, schema: z.ZodType<T>): Promise<T | undefined> {
    const hex = digestHex(of);
    if (!this.#sizes.has(hex)) return undefined;
    const path = `/blobs/sha256/${hex}`;
    try {
      const { image } = this.#disk;
      const bytes = await readWholeFile(image, await lookup(image, path), maxDocumentBytes, path);
      const parsed = schema.safeParse(JSON.parse(bytes.toString()));
      if (parsed.success) return parsed.data;
      const [issue] = parsed.error.issues;
      this.#problems.add(path, `${issue.path.join(".")}: ${issue.message}`);
    } catch (error) {
      if (!(error instanceof ErofsError) && !(error instanceof SyntaxError)) throw error;
      this.#problems.add(path, error.message);
    }
    return undefined;
  }
}

function isSame(a: Described, b: Described): boolean {
  return a.digest === b.digest && a.size === b.size;
}
