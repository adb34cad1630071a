import { hash } from "node:crypto";
import { chainIDs } from "../../../disk/build/chain.ts";
import { DiskError } from "../../../disk/disk-error.ts";
import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { DiskReader } from "../../../disk/reader/disk-reader.ts";
import { readWholeFile } from "../../../filesystem/erofs/reader/file-data.ts";
import { type Digest, digestHex, isDigest } from "../../../oci/descriptor.ts";

/** An index, manifest or config of an image, with the label that says what it refers to. */
export type ImageDocument = {
  readonly kind: "index" | "manifest" | "config";
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  /** Of an index: the document below, that leads to the manifest of the disk's platform. */
  readonly child: Digest | undefined;
};

const maxDocumentBytes = 16 << 20;

/**
 * The documents of an image from the config up to the target, in the order in which they are written: what refers comes after what it
 * refers to. Each is compared with its digest. Throws `DiskError` `corrupt`.
 */
export async function imageDocuments(disk: DiskReader, image: IndexImage): Promise<ImageDocument[]> {
  const [config, manifest] = await Promise.all([
    readDocument(disk, image.config.digest),
    readDocument(disk, image.manifest.digest),
  ]);
  const indexes = image.target.digest === image.manifest.digest ? [] : await indexesTo(disk, image);
  return [
    { kind: "config", digest: image.config.digest, bytes: config, child: undefined },
    { kind: "manifest", digest: image.manifest.digest, bytes: manifest, child: image.config.digest },
    ...indexes.reverse(),
  ];
}

/**
 * Compares what the index of the disk says of an image with the image's own documents: layers and chainIDs name snapshots that pulls of
 * other images stand on. Throws `DiskError` `corrupt`.
 */
export async function checkImage(disk: DiskReader, image: IndexImage): Promise<void> {
  const [config, manifest] = await Promise.all([
    readDocument(disk, image.config.digest),
    readDocument(disk, image.manifest.digest),
  ]);
  const { rootfs } = parse(config) as { readonly rootfs?: { readonly diff_ids?: unknown } };
  const named = parse(manifest) as {
    readonly config?: { readonly digest?: unknown };
    readonly layers?: readonly { readonly digest?: unknown }[];
  };
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
      `${disk.source.name}: its index says other layers of ${image.names[0] ?? image.target.digest} than the image itself; build the disk again`,
    );
}

function parse(bytes: Uint8Array): object {
  const document: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  return typeof document === "object" && document !== null ? document : {};
}

/** The indexes from the target down; nearly always the target alone. */
async function indexesTo(disk: DiskReader, image: IndexImage): Promise<ImageDocument[]> {
  const find = async (digest: Digest, depth: number): Promise<ImageDocument[] | undefined> => {
    const bytes = await readDocument(disk, digest);
    const children = childrenOf(bytes);
    if (children.includes(image.manifest.digest))
      return [{ kind: "index", digest, bytes, child: image.manifest.digest }];
    if (depth === 0) return undefined;
    for (const child of children) {
      if (!(await isOnDisk(disk, child))) continue;
      const below = await find(child, depth - 1);
      if (below !== undefined) return [{ kind: "index", digest, bytes, child }, ...below];
    }
    return undefined;
  };
  const found = await find(image.target.digest, 4);
  if (found === undefined)
    throw new DiskError(
      "corrupt",
      `${disk.source.name}: the index ${image.target.digest} of ${image.names[0] ?? "an image"} does not lead to its manifest ${image.manifest.digest}`,
    );
  return found;
}

function childrenOf(bytes: Uint8Array): Digest[] {
  const document: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  if (typeof document !== "object" || document === null || !("manifests" in document)) return [];
  const { manifests } = document;
  if (!Array.isArray(manifests)) return [];
  return manifests.map((each: { digest?: unknown } | null) => String(each?.digest)).filter(isDigest);
}

async function isOnDisk(disk: DiskReader, digest: Digest): Promise<boolean> {
  return disk.lookup(blobPath(digest)).then(
    () => true,
    () => false,
  );
}

async function readDocument(disk: DiskReader, digest: Digest): Promise<Uint8Array> {
  const path = blobPath(digest);
  const bytes = await readWholeFile(disk.image, await disk.lookup(path), maxDocumentBytes, path);
  if (hash("sha256", bytes, "hex") !== digestHex(digest))
    throw new DiskError("corrupt", `${disk.source.name}: /${path} is not what its digest says; build the disk again`);
  return bytes;
}

function blobPath(digest: Digest): string {
  return `blobs/sha256/${digestHex(digest)}`;
}
