import { chainIDs } from "../../../disk/build/chain.ts";
import type { IndexLayer } from "../../../disk/reader/disk-index.ts";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { emptyName } from "../ownership.ts";

/** What a chain is made of. */
export type ChainLayer = Pick<IndexLayer, "diffID" | "chainID" | "tree">;

/** A snapshot below the top of an image. */
export type ChainSnapshot = {
  /** ChainID. */
  readonly name: Digest;
  /** Another of the chain, before it in the list, or the empty one. */
  readonly parent: string;
  /** Folder of the disk. */
  readonly tree: string;
};

/**
 * The snapshots that a pull looks for below the top of an image, bottom first, each with its parent before it.
 *
 * overlayfs refuses the same folder twice (fs/overlayfs/super.c, `ovl_setup_trap`: ELOOP), so a layer that an image has twice is no lower
 * directory a second time. It need not be: what the upper one has hides all that the lower one has. So the parent of the upper one is the
 * stack without the lower one, which gets snapshots of its own, named by what they truly hold. Where that cannot be named, because a tree in
 * it depends on what was below, or where it would take more snapshots than there are layers, the chain ends.
 */
export function chainSnapshots(layers: readonly ChainLayer[]): ChainSnapshot[] {
  const made = new Map<Digest, ChainSnapshot>();
  let stack: readonly ChainLayer[] = [];
  let parent: string = emptyName;
  for (const layer of layers.slice(0, -1)) {
    const others = stack.filter(({ tree }) => tree !== layer.tree);
    if (others.length < stack.length) {
      const ground = addStack(made, others);
      if (ground === undefined || made.size > 2 * layers.length) break;
      parent = ground;
    }
    made.set(layer.chainID, { name: layer.chainID, parent, tree: layer.tree });
    stack = [...others, layer];
    parent = layer.chainID;
  }
  return [...made.values()];
}

/** Those that no other stands on: whatever keeps them keeps all. */
export function chainEnds(layers: readonly ChainLayer[]): Digest[] {
  const snapshots = chainSnapshots(layers);
  const parents = new Set(snapshots.map(({ parent }) => parent));
  return snapshots.flatMap(({ name }) => (parents.has(name) ? [] : [name]));
}

/** Folder of a disk for the tree of a layer that is the same whatever is below it. */
export function plainTree(diffID: Digest): string {
  return `layers/${digestHex(diffID)}`;
}

/** Name of the uppermost; `undefined` when one of them cannot be named. */
function addStack(made: Map<Digest, ChainSnapshot>, layers: readonly ChainLayer[]): string | undefined {
  const names = chainIDs(layers.map(({ diffID }) => diffID));
  let parent: string = emptyName;
  for (const [i, { tree }] of layers.entries()) {
    const name = names[i];
    if (name === undefined) return undefined;
    if (!made.has(name)) {
      if (!layers.slice(0, i + 1).every(isItsOwn)) return undefined;
      made.set(name, { name, parent, tree });
    }
    parent = name;
  }
  return parent;
}

/** Whether a layer's tree is the same whatever is below it. */
function isItsOwn({ tree, diffID }: ChainLayer): boolean {
  return tree === plainTree(diffID);
}
