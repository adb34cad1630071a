import { type DirectoryAttributes, directoryAttributes, type LayerInstance } from "./layer-instance.ts";
import { compareNames, isDirectoryEntry, nameStart } from "./names.ts";
import { isOpaque, isOverlayXattr, isWhiteout } from "./whiteouts.ts";

/**
 * A directory of a view: pairs (index of the layer instance, directory number in its tree), topmost first. More than one
 * pair means that overlayfs would merge them.
 */
export type DirectoryNode = readonly number[];

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
    root: [0, 0],
    attributes: (node) => directoryAttributes(instance, node[1]),
    list: (node, listing) => listOne([instance], node, listing, false),
  };
}

/** What overlayfs shows of `instances`, topmost first. It merges all roots, opaque or not (Linux `ovl_get_root`). */
export function mergedView(instances: readonly LayerInstance[]): TreeView {
  return {
    instances,
    root: instances.flatMap((_, i) => [i, 0]),
    attributes: (node) => {
      const own = directoryAttributes(instances[node[0]], node[1]);
      return own.xattrs.some(isOverlayXattr)
        ? { ...own, xattrs: own.xattrs.filter((xattr) => !isOverlayXattr(xattr)) }
        : own;
    },
    list: (node, listing) =>
      node.length === 2 ? listOne(instances, node, listing, true) : listMerged(instances, node, listing),
  };
}

function append(listing: Listing, instance: number, entry: number, directory: DirectoryNode | undefined): void {
  const i = listing.count++;
  listing.instance[i] = instance;
  listing.entry[i] = entry;
  listing.directory[i] = directory;
}

function listOne(
  instances: readonly LayerInstance[],
  node: DirectoryNode,
  listing: Listing,
  hideWhiteouts: boolean,
): void {
  const [instance, directory] = node;
  const { tree } = instances[instance];
  listing.count = 0;
  for (let entry = tree.firstChild[directory]; entry < tree.firstChild[directory + 1]; entry++) {
    if (isDirectoryEntry(tree, entry)) append(listing, instance, entry, [instance, tree.entryInode[entry]]);
    else if (!hideWhiteouts || !isWhiteout(tree, tree.entryInode[entry])) append(listing, instance, entry, undefined);
  }
}

/** Merges the sorted children of all parts of `node`; of equal names the topmost decides. */
function listMerged(instances: readonly LayerInstance[], node: DirectoryNode, listing: Listing): void {
  const parts = node.length / 2;
  const next = new Array<number>(parts);
  const end = new Array<number>(parts);
  for (let part = 0; part < parts; part++) {
    const { tree } = instances[node[2 * part]];
    next[part] = tree.firstChild[node[2 * part + 1]];
    end[part] = tree.firstChild[node[2 * part + 1] + 1];
  }
  const same: number[] = [];
  listing.count = 0;
  for (;;) {
    same.length = 0;
    for (let part = 0; part < parts; part++) {
      if (next[part] === end[part]) continue;
      const order = same.length === 0 ? 0 : compareParts(instances, node, next, part, same[0]);
      if (order < 0) same.length = 0;
      if (order <= 0) same.push(part);
    }
    if (same.length === 0) return;
    resolve(instances, node, next, same, listing);
    for (const part of same) next[part]++;
  }
}

function compareParts(
  instances: readonly LayerInstance[],
  node: DirectoryNode,
  next: readonly number[],
  a: number,
  b: number,
): number {
  const aTree = instances[node[2 * a]].tree;
  const bTree = instances[node[2 * b]].tree;
  return compareNames(
    aTree.names,
    nameStart(aTree, next[a]),
    aTree.nameEnds[next[a]],
    bTree.names,
    nameStart(bTree, next[b]),
    bTree.nameEnds[next[b]],
  );
}

/** One name that `same` parts have (topmost first): hidden, an inode, or a directory merged from as many as overlayfs would. */
function resolve(
  instances: readonly LayerInstance[],
  node: DirectoryNode,
  next: readonly number[],
  same: readonly number[],
  listing: Listing,
): void {
  const top = node[2 * same[0]];
  const topEntry = next[same[0]];
  const topTree = instances[top].tree;
  if (!isDirectoryEntry(topTree, topEntry)) {
    if (!isWhiteout(topTree, topTree.entryInode[topEntry])) append(listing, top, topEntry, undefined);
    return;
  }
  const merged: number[] = [];
  for (const part of same) {
    const instance = node[2 * part];
    const { tree } = instances[instance];
    if (!isDirectoryEntry(tree, next[part])) break;
    const directory = tree.entryInode[next[part]];
    merged.push(instance, directory);
    if (isOpaque(directoryAttributes(instances[instance], directory).xattrs)) break;
  }
  append(listing, top, topEntry, merged);
}
