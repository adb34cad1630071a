import { hash } from "node:crypto";
import { chainIDs } from "../../../disk/build/chain.ts";
import { DiskError } from "../../../disk/disk-error.ts";
import { areaKind } from "../../../disk/files-format.ts";
import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { DiskReader } from "../../../disk/reader/disk-reader.ts";
import { verifyAreas } from "../../../disk/reader/verify-areas.ts";
import { readWholeFile } from "../../../filesystem/erofs/reader/file-data.ts";
import { directoryEntries } from "../../../filesystem/erofs/reader/lookup.ts";
import { type Digest, digestHex, isDigest } from "../../../oci/descriptor.ts";
import { sideBySide } from "../../side-by-side.ts";

/** An index, manifest or config of an image, with the label that says what it refers to. */
export type ImageDocument = {
  readonly kind: "index" | "manifest" | "config";
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  /** Of an index: the document below, that leads to the manifest of the disk's platform. */
  readonly child: Digest | undefined;
};

const maxDocumentBytes = 16 << 20;
const blobsPath = "blobs/sha256";
const noBytes = new Uint8Array();

/** Documents that were read are kept up to this: from there on they are read again where they are asked for again. */
const keptBytes = 16 << 20;

const documents = new WeakMap<DiskReader, DiskDocuments>();

/** Those of a disk that is open: read and checked once for all that is done with it. */
export function documentsOf(disk: DiskReader): DiskDocuments {
  const known = documents.get(disk) ?? new DiskDocuments(disk);
  documents.set(disk, known);
  return known;
}

/** The documents of a disk's images. Each is compared with its digest when it is read. */
export class DiskDocuments {
  readonly #disk: DiskReader;
  readonly #kept = new Map<IndexImage, readonly ImageDocument[]>();
  #keptBytes = 0;
  #folder: Promise<ReadonlyMap<string, number>> | undefined;
  #isIndexVerified = false;
  readonly #checked = new Set<IndexImage>();

  /** `disk` stays the caller's to close. */
  constructor(disk: DiskReader) {
    this.#disk = disk;
  }

  /**
   * Those of an image, from the target down to the config, each before the one that it refers to. Throws `DiskError` `corrupt`.
   */
  async of(image: IndexImage): Promise<readonly ImageDocument[]> {
    const known = this.#kept.get(image);
    if (known !== undefined) return known;
    const [config, manifest] = await Promise.all([this.#read(image.config.digest), this.#read(image.manifest.digest)]);
    const indexes = image.target.digest === image.manifest.digest ? [] : await this.#indexesTo(image);
    const documents: ImageDocument[] = [
      ...indexes,
      { kind: "manifest", digest: image.manifest.digest, bytes: manifest, child: image.config.digest },
      { kind: "config", digest: image.config.digest, bytes: config, child: undefined },
    ];
    const sizeBytes = documents.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (this.#keptBytes + sizeBytes <= keptBytes) {
      this.#keptBytes += sizeBytes;
      this.#kept.set(image, documents);
    }
    return documents;
  }

  /**
   * Verifies the index of the disk, and all that injection reads of some images, unless that was done before. Throws `DiskError` `corrupt`, or the
   * reason of the signal.
   */
  async verify(images: readonly IndexImage[], signal: AbortSignal): Promise<void> {
    if (!this.#isIndexVerified) await verifyAreas(this.#disk, [areaKind.index], signal, "build the disk again");
    this.#isIndexVerified = true;
    await sideBySide(
      images.filter((image) => !this.#checked.has(image)),
      async (image) => {
        await this.#check(image);
        this.#checked.add(image);
      },
    );
  }

  /**
   * Compares what the index of the disk says of an image with the image's own documents: layers and chainIDs name snapshots that pulls of
   * other images stand on. Throws `DiskError` `corrupt`.
   */
  async #check(image: IndexImage): Promise<void> {
    const documents = await this.of(image);
    const bytesOf = (kind: ImageDocument["kind"]) => documents.find((each) => each.kind === kind)?.bytes ?? noBytes;
    const { rootfs } = parse(bytesOf("config")) as { readonly rootfs?: { readonly diff_ids?: unknown } };
    const named = parse(bytesOf("manifest")) as { readonly config?: { readonly digest?: unknown } };
    const diffIDs = image.layers.map(({ diffID }) => diffID);
    const equal = (one: readonly unknown[], other: unknown): boolean =>
      Array.isArray(other) && one.length === other.length && one.every((each, i) => each === other[i]);
    const isSame =
      named.config?.digest === image.config.digest &&
      equal(diffIDs, rootfs?.diff_ids ?? []) &&
      equal(
        image.layers.map(({ chainID }) => chainID),
        chainIDs(diffIDs),
      );
    if (!isSame)
      throw new DiskError(
        "corrupt",
        `${this.#disk.source.name}: its index says other layers of ${image.names[0] ?? image.target.digest} than the image itself; build the disk again`,
      );
  }

  /** The indexes from the target down; nearly always the target alone. */
  async #indexesTo(image: IndexImage): Promise<ImageDocument[]> {
    const find = async (digest: Digest, depth: number): Promise<ImageDocument[] | undefined> => {
      const bytes = await this.#read(digest);
      const children = childrenOf(bytes);
      if (children.includes(image.manifest.digest))
        return [{ kind: "index", digest, bytes, child: image.manifest.digest }];
      if (depth === 0) return undefined;
      for (const child of children) {
        if (!(await this.#names()).has(digestHex(child))) continue;
        const below = await find(child, depth - 1);
        if (below !== undefined) return [{ kind: "index", digest, bytes, child }, ...below];
      }
      return undefined;
    };
    const found = await find(image.target.digest, 4);
    if (found === undefined)
      throw new DiskError(
        "corrupt",
        `${this.#disk.source.name}: the index ${image.target.digest} of ${image.names[0] ?? "an image"} does not lead to its manifest ${image.manifest.digest}`,
      );
    return found;
  }

  async #read(digest: Digest): Promise<Uint8Array> {
    const disk = this.#disk;
    const path = `${blobsPath}/${digestHex(digest)}`;
    const number = (await this.#names()).get(digestHex(digest));
    // A name that is missing is an error that the disk itself words.
    const inode = await (number === undefined ? disk.lookup(path) : disk.image.inode(number));
    const bytes = await readWholeFile(disk.image, inode, maxDocumentBytes, path);
    if (hash("sha256", bytes, "hex") !== digestHex(digest))
      throw new DiskError("corrupt", `${disk.source.name}: /${path} is not what its digest says; build the disk again`);
    return bytes;
  }

  /** Inode numbers by name: looked up one by one, each name would cost half of the folder. */
  #names(): Promise<ReadonlyMap<string, number>> {
    this.#folder ??= this.#readFolder();
    return this.#folder;
  }

  async #readFolder(): Promise<ReadonlyMap<string, number>> {
    const { image } = this.#disk;
    const numbers = new Map<string, number>();
    for await (const { name, nid } of directoryEntries(image, await this.#disk.lookup(blobsPath)))
      numbers.set(name.toString(), nid);
    return numbers;
  }
}

function parse(bytes: Uint8Array): object {
  const document: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  return typeof document === "object" && document !== null ? document : {};
}

function childrenOf(bytes: Uint8Array): Digest[] {
  const document: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  if (typeof document !== "object" || document === null || !("manifests" in document)) return [];
  const { manifests } = document;
  if (!Array.isArray(manifests)) return [];
  return manifests.map((each: { digest?: unknown } | null) => String(each?.digest)).filter(isDigest);
}
