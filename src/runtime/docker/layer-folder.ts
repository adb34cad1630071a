import { readdir, readlink, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, isDigest } from "../../oci/descriptor.ts";
import { array, object, readShape, type Shaped, string, stringThat } from "../../oci/json-shape.ts";
import { HostError } from "../host/host-error.ts";
import { swapInLink } from "../host/link-swap.ts";
import { errorCode } from "../host/system-calls.ts";
import { type DiskLink, formatDiskLink, parseDiskLink } from "./disk-link.ts";
import { parseJson, readIfExists, replaceFile } from "./durable-file.ts";
import { placeholderName } from "./synthetic-image.ts";

/**
 * What a layer's `diff` is: a link to a tree of a disk; `placeholder`, a synthetic layer that was not linked yet; `files`, a folder as Docker's own
 * layers have, or a tree that was copied from a disk; `foreign`, a link of others.
 */
export type LayerState =
  | { readonly kind: "linked"; readonly link: DiskLink }
  | { readonly kind: "placeholder" | "files" | "foreign" };

/** An image of ours on the layer. */
export type NamedImage = {
  /** Digest of the target in the registry. */
  readonly target: Digest;
  /** Tags that Nodewarm gave it. */
  readonly names: readonly string[];
};

/** Our images on a layer, by their id in Docker. */
export type NamedImages = ReadonlyMap<Digest, NamedImage>;

/** Written beside `diff`: durable, and removed by Docker together with the layer. */
const namesFile = "nodewarm.json";

const digest = stringThat(isDigest, "a digest");
const namesDocument = object({
  formatVersion: stringThat((text) => text === "1", "1"),
  images: array(object({ id: digest, target: digest, names: array(string) })),
});

/** The folder `overlay2/<cache-id>` of a layer. `path`: as this program reaches it. */
export async function readLayerState(path: string): Promise<LayerState> {
  const diff = join(path, "diff");
  try {
    const link = parseDiskLink(await readlink(diff));
    return link === undefined ? { kind: "foreign" } : { kind: "linked", link };
  } catch (error) {
    if (errorCode(error) !== "EINVAL") throw error;
  }
  const names = await readdir(diff);
  return { kind: names.every((name) => name === placeholderName) ? "placeholder" : "files" };
}

/**
 * Makes `diff` a link to a tree, in place of the placeholder or another link; false when it is that link already. At every moment a container
 * on the layer either has all files or cannot start. Durable after `syncFilesystem`. Throws `HostError` `occupied` for a folder with files and for a link of others.
 */
export async function linkLayer(path: string, link: DiskLink): Promise<boolean> {
  const diff = join(path, "diff");
  const { kind } = await readLayerState(path);
  if (kind === "foreign")
    throw new HostError("occupied", `${diff} is a link that Nodewarm did not make; it is left as it is`);
  if (kind === "placeholder") await rm(join(diff, placeholderName), { force: true });
  return swapInLink(diff, formatDiskLink(link));
}

/** Empty for a layer without our file, and where the file was damaged: then no tag counts as ours. */
export async function readNamedImages(path: string): Promise<NamedImages> {
  const text = await readIfExists(join(path, namesFile));
  const images = readShape(namesDocument, parseJson(text ?? "")).value?.images ?? [];
  return new Map(images.map(({ id, target, names }) => [id, { target, names }]));
}

/** Adds an image, or names of it, to the file. Durable after `syncFilesystem`. */
export async function addNamedImage(path: string, id: Digest, { target, names }: NamedImage): Promise<void> {
  const images = new Map(await readNamedImages(path));
  const before = images.get(id);
  const all = [...new Set([...(before?.names ?? []), ...names])];
  if (before !== undefined && before.target === target && all.length === before.names.length) return;
  await writeNamedImages(path, images.set(id, { target, names: all }));
}

/** Takes a name out of the file: the tag is not ours any more. Durable after `syncFilesystem`. */
export async function dropName(path: string, id: Digest, name: string): Promise<void> {
  const images = new Map(await readNamedImages(path));
  const before = images.get(id);
  if (before?.names.includes(name) !== true) return;
  await writeNamedImages(path, images.set(id, { ...before, names: before.names.filter((each) => each !== name) }));
}

async function writeNamedImages(path: string, images: NamedImages): Promise<void> {
  const document: Shaped<typeof namesDocument> = {
    formatVersion: "1",
    images: [...images].map(([each, image]) => ({ id: each, target: image.target, names: image.names })),
  };
  await replaceFile(join(path, namesFile), `${JSON.stringify(document, null, 2)}\n`);
}
