import type { LayerTree } from "../layers/layer-tree.ts";

/** Order of two names by unsigned bytes, the shorter of equal beginnings first; each given by buffer, start and end. */
export function compareNames(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const common = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < common; i++) {
    const difference = a[aStart + i] - b[bStart + i];
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

/** Where entry `entry`'s name begins in `tree.names`; it ends at `tree.nameEnds[entry]`. */
export function nameStart(tree: LayerTree, entry: number): number {
  return entry === 0 ? 0 : tree.nameEnds[entry - 1];
}

export function entryName(tree: LayerTree, entry: number): Uint8Array {
  return tree.names.subarray(nameStart(tree, entry), tree.nameEnds[entry]);
}

/** The entry called `name` in `directory`, or -1. */
export function findChild(tree: LayerTree, directory: number, name: Uint8Array): number {
  let low = tree.firstChild[directory];
  let high = tree.firstChild[directory + 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareNames(tree.names, nameStart(tree, middle), tree.nameEnds[middle], name, 0, name.length);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1;
}

/** Whether entry `entry` is a directory; directories are the first inodes. */
export function isDirectoryEntry(tree: LayerTree, entry: number): boolean {
  return tree.entryInode[entry] < tree.directoryCount;
}

/** The target of symbolic link `inode`. */
export function linkTarget(tree: LayerTree, inode: number): Uint8Array {
  const target = tree.payload[inode];
  return tree.targets.subarray(target === 0 ? 0 : tree.targetEnds[target - 1], tree.targetEnds[target]);
}
