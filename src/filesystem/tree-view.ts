import { type DirectoryAttributes, directoryAttributes, type LayerInstance } from "./layer-instance.ts";
import { compareNames, isDirectoryEntry, nameStart } from "./names.ts";
import { isOpaque, isOverlayXattr, isWhiteout } from "./whiteouts.ts";

/**
 * A directory of one layer in a view: its number in the layer's tree × the number of instances + the index of the instance. One number,
 * as a view may have millions of them.
 */
type Part = number;

/** A directory of a view: of one layer, or several parts, topmost first, that overlayfs would merge. */
export type DirectoryNode = Part | readonly Part[];

const topOf = (node: DirectoryNode): Part => (typeof node === "number" ? node : node[0]);
const instanceOf = (instances: readonly LayerInstance[], part: Part): number => part % instances.length;
const directoryOf = (instances: readonly LayerInstance[], part: Part): number => Math.floor(part / instances.length);

/** The children of one directory in the order of their names, in arrays that are used again for the next directory. */
export type Listing = {
  count: number;
  /** Index of the layer instance that child `i` comes from. */
  readonly instance: number[];
  /** Entry of that instance's tree. */
  readonly entry: number[];
  /** The child as a directory of the view, or `undefined` where it is not one. */
  readonly directory: (DirectoryNode | undefined)[];
};

export function createListing(): Listing {
  return { count: 0, instance: [], entry: [], directory: [] };
}

/** A tree with directories of its own whose other entries are inodes of layer trees; read one directory at a time. */
export interface TreeView {
  readonly instances: readonly LayerInstance[];
  readonly root: DirectoryNode;
  attributes(node: DirectoryNode): DirectoryAttributes;
  /** Fills `listing`. */
  list(node: DirectoryNode, listing: Listing): void;
}

/** The tree of one layer as overlayfs wants it below: whiteouts and opaque marks are there. */
export function layerView(instance: LayerInstance): TreeView {
  return {
    instances: [instance],
    root: 0,
    attributes: (node) => directoryAttributes(instance, topOf(node)),
    list: (node, listing) => listOne([instance], topOf(node), listing, false),
  };
}

/** What overlayfs shows of `instances`, topmost first. It merges all roots, opaque or not (Linux `ovl_get_root`). */
export function mergedView(instances: readonly LayerInstance[]): TreeView {
  return {
    instances,
    root: instances.map((_, i) => i),
    attributes: (node) => {
      const top = topOf(node);
      const own = directoryAttributes(instances[instanceOf(instances, top)], directoryOf(instances, top));
      return own.xattrs.some(isOverlayXattr)
        ? { ...own, xattrs: own.xattrs.filter((xattr) => !isOverlayXattr(xattr)) }
        : own;
    },
    list: (node, listing) =>
      typeof node === "number" ? listOne(instances, node, listing, true) : listMerged(instances, node, listing),
  };
}

function append(listing: Listing, instance: number, entry: number, directory: DirectoryNode | undefined): void {
  const i = listing.count++;
  listing.instance[i] = instance;
  listing.entry[i] = entry;
  listing.directory[i] = directory;
}

function listOne(instances: readonly LayerInstance[], part: Part, listing: Listing, hideWhiteouts: boolean): void {
  const instance = instanceOf(instances, part);
  const directory = directoryOf(instances, part);
  const { tree } = instances[instance];
  listing.count = 0;
  for (let entry = tree.firstChild[directory]; entry < tree.firstChild[directory + 1]; entry++) {
    if (isDirectoryEntry(tree, entry))
      append(listing, instance, entry, tree.entryInode[entry] * instances.length + instance);
    else if (!hideWhiteouts || !isWhiteout(tree, tree.entryInode[entry])) append(listing, instance, entry, undefined);
  }
}

/** Merges the sorted children of all parts of `node`; of equal names the topmost decides. */
function listMerged(instances: readonly LayerInstance[], node: readonly Part[], listing: Listing): void {
  const layers = node.map((part) => instanceOf(instances, part));
  const next = node.map((part, i) => instances[layers[i]].tree.firstChild[directoryOf(instances, part)]);
  const end = node.map((part, i) => instances[layers[i]].tree.firstChild[directoryOf(instances, part) + 1]);
  const same: number[] = [];
  listing.count = 0;
  for (;;) {
    same.length = 0;
    for (let i = 0; i < node.length; i++) {
      if (next[i] === end[i]) continue;
      const order = same.length === 0 ? 0 : compareParts(instances, layers, next, i, same[0]);
      if (order < 0) same.length = 0;
      if (order <= 0) same.push(i);
    }
    if (same.length === 0) return;
    resolve(instances, layers, next, same, listing);
    for (const i of same) next[i]++;
  }
}

function compareParts(
  instances: readonly LayerInstance[],
  layers: readonly number[],
  next: readonly number[],
  a: number,
  b: number,
): number {
  const aTree = instances[layers[a]].tree;
  const bTree = instances[layers[b]].tree;
  return compareNames(
    aTree.names,
    nameStart(aTree, next[a]),
    aTree.nameEnds[next[a]],
    bTree.names,
    nameStart(bTree, next[b]),
    bTree.nameEnds[next[b]],
  );
}

/** One name that parts `same` have (topmost first): hidden, an inode, or a directory merged from as many as overlayfs would. */
function resolve(
  instances: readonly LayerInstance[],
  layers: readonly number[],
  next: readonly number[],
  same: readonly number[],
  listing: Listing,
): void {
  const top = layers[same[0]];
  const topEntry = next[same[0]];
  const topTree = instances[top].tree;
  if (!isDirectoryEntry(topTree, topEntry)) {
    if (!isWhiteout(topTree, topTree.entryInode[topEntry])) append(listing, top, topEntry, undefined);
    return;
  }
  const merged: Part[] = [];
  for (const i of same) {
    const instance = layers[i];
    const { tree } = instances[instance];
    if (!isDirectoryEntry(tree, next[i])) break;
    const directory = tree.entryInode[next[i]];
    merged.push(directory * instances.length + instance);
    if (isOpaque(directoryAttributes(instances[instance], directory).xattrs)) break;
  }
  append(listing, top, topEntry, merged.length === 1 ? merged[0] : merged);
}
