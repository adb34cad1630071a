import { hash } from "node:crypto";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { readWholeFile } from "../../filesystem/erofs/reader/file-data.ts";
import { isDirectory } from "../../filesystem/erofs/reader/inode-parser.ts";
import { directoryEntries } from "../../filesystem/erofs/reader/lookup.ts";
import { digestHex } from "../../oci/descriptor.ts";
import type { DiskIndex, IndexImage } from "../reader/disk-index.ts";
import { type DiskReader, indexPath } from "../reader/disk-reader.ts";

/** What the index says the disk must hold, and how trees belong together. */
export type ExpectedTrees = {
  /** By path, such as `layers/<hex>`. */
  readonly layers: ReadonlyMap<string, ExpectedLayer>;
  /** By path, such as `images/<hex>`: paths of the layer trees, topmost first. */
  readonly merged: ReadonlyMap<string, readonly string[]>;
};

export type ExpectedLayer = {
  readonly diffIDHex: string;
  readonly impliedDirectories: readonly number[];
  /** See `IndexLayer.inherits`. */
  readonly inherits: boolean;
  /** Of an image that has it: the paths of its layer trees from the bottom, of which the first `height` are below. */
  readonly stack: readonly string[];
  readonly height: number;
};

const maxIndexBytes = 256 << 20;
/** overlayfs shows at most 500. Each costs memory while a merged tree is compared, and a look for each implied directory above it. */
const maxLayers = 5000;

/** Checks the index in itself: chainIDs, paths, order and form. */
export function checkIndex(index: DiskIndex, problems: ProblemList): ExpectedTrees {
  const layers = new Map<string, ExpectedLayer>();
  const merged = new Map<string, readonly string[]>();
  for (const [i, image] of index.images.entries()) {
    const place = `${indexPath}: images[${i}]`;
    const sorted = [...new Set(image.names)].sort();
    if (sorted.join("\n") !== image.names.join("\n")) problems.add(place, "names are not sorted or there twice");
    if (image.layers.length > maxLayers) {
      problems.add(place, `has ${image.layers.length} layers; more than ${maxLayers} are not looked at`);
      continue;
    }
    checkLayers(image, place, layers, problems);
    const top = image.layers.at(-1);
    const expected =
      top === undefined ? null : image.layers.length === 1 ? top.tree : `images/${digestHex(top.chainID)}`;
    if (image.tree !== expected) problems.add(place, `tree is ${image.tree}, not ${expected}`);
    if (image.layers.length > 1 && expected !== null) {
      const trees = image.layers.map(({ tree }) => tree).reverse();
      const known = merged.get(expected);
      if (known !== undefined && known.join() !== trees.join()) {
        problems.add(place, "has other layer trees than another image of the same chain");
      }
      merged.set(expected, trees);
    }
  }
  const keys = index.images.map(({ target, names }) => `${target.digest} ${names[0] ?? ""}`);
  if (keys.some((key, i) => i > 0 && key < keys[i - 1])) problems.add(indexPath, "images are not in order");
  return { layers, merged };
}

function checkLayers(
  image: IndexImage,
  place: string,
  layers: Map<string, ExpectedLayer>,
  problems: ProblemList,
): void {
  let chainID: string | undefined;
  // One list for all: a list of its own for each of many layers would take memory by the square of their number.
  const stack = image.layers.map(({ tree }) => tree);
  for (const [j, layer] of image.layers.entries()) {
    const at = `${place}.layers[${j}]`;
    chainID = chainID === undefined ? layer.diffID : `sha256:${hash("sha256", `${chainID} ${layer.diffID}`, "hex")}`;
    if (layer.chainID !== chainID) problems.add(at, `chainID is not ${chainID}`);
    const impliedDirectories = layer.impliedDirectories ?? [];
    const diffIDHex = digestHex(layer.diffID);
    const hex = layer.tree.slice("layers/".length);
    const inherits = layer.inherits === true;
    const expectedHex = impliedDirectories.length === 0 && !inherits ? diffIDHex : digestHex(layer.chainID);
    if (hex !== expectedHex) problems.add(at, `tree is ${layer.tree}, not layers/${expectedHex}`);
    const known = layers.get(layer.tree);
    if (known === undefined) layers.set(layer.tree, { diffIDHex, impliedDirectories, inherits, stack, height: j });
    else if (
      known.diffIDHex !== diffIDHex ||
      known.inherits !== inherits ||
      known.impliedDirectories.join() !== impliedDirectories.join()
    ) {
      problems.add(at, "contradicts what another image says of the same tree");
    }
  }
}

/** The text of the index must be what writing it again gives, but for fields of later versions. */
export async function checkIndexText(disk: DiskReader, problems: ProblemList): Promise<void> {
  const bytes = await readWholeFile(disk.image, await disk.lookup(indexPath), maxIndexBytes, indexPath);
  const text = bytes.toString();
  if (text !== `${JSON.stringify(JSON.parse(text), null, 2)}\n`) {
    problems.add(indexPath, "is not written as two spaces of indent and one newline at the end");
  }
}

/** The folders of the disk hold exactly what the index says. */
export async function checkFolders(disk: DiskReader, expected: ExpectedTrees, problems: ProblemList): Promise<void> {
  const layerNames = [...expected.layers.keys()].map((path) => path.slice("layers/".length));
  const mergedNames = [...expected.merged.keys()].map((path) => path.slice("images/".length));
  const diffIDs = [...new Set([...expected.layers.values()].map(({ diffIDHex }) => diffIDHex))];
  const { index } = disk;
  const root = ["nodewarm.files", "nodewarm.json"];
  if (index.images.length > 0) root.push("blobs");
  if (layerNames.length > 0) root.push("layers");
  if (mergedNames.length > 0) root.push("images");
  if (index.erofsCache && diffIDs.length > 0) root.push("erofs");
  await compareNames(disk, "/", root, problems);
  if (index.images.length > 0) await compareNames(disk, "/blobs", ["sha256"], problems);
  if (layerNames.length > 0) await compareNames(disk, "/layers", layerNames, problems);
  if (mergedNames.length > 0) await compareNames(disk, "/images", mergedNames, problems);
  if (!index.erofsCache || diffIDs.length === 0) return;
  await compareNames(disk, "/erofs", ["sha256"], problems);
  const folders = new Set(diffIDs.map((hex) => hex.slice(0, 2)));
  await compareNames(disk, "/erofs/sha256", [...folders], problems);
  for (const folder of folders) {
    const files = diffIDs.filter((hex) => hex.startsWith(folder)).map((hex) => `${hex}.erofs`);
    await compareNames(disk, `/erofs/sha256/${folder}`, files, problems);
  }
}

async function compareNames(
  disk: DiskReader,
  path: string,
  expected: readonly string[],
  problems: ProblemList,
): Promise<void> {
  const missing = new Set(expected);
  const directory = await disk.lookup(path);
  if (!isDirectory(directory)) return problems.add(path, "is no directory");
  for await (const entry of directoryEntries(disk.image, directory)) {
    const name = entry.name.toString("latin1");
    if (!missing.delete(name)) problems.add(path, `has ${JSON.stringify(name)}, of which the index knows nothing`);
  }
  for (const name of missing) problems.add(path, `lacks ${JSON.stringify(name)}, which the index says is there`);
}
