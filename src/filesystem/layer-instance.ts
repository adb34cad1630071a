import type { LayerTree, Xattr } from "../layers/layer-tree.ts";

/** What a directory inode needs besides its entries. */
export type DirectoryAttributes = {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: readonly Xattr[];
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
};

/** A layer's tree as it stands in one chain: implied directories have what the layers below give them. */
export type LayerInstance = {
  readonly tree: LayerTree;
  /** Attributes of implied directories by directory number; empty where the tree depends on nothing. */
  readonly implied: ReadonlyMap<number, DirectoryAttributes>;
};

export function directoryAttributes(instance: LayerInstance, directory: number): DirectoryAttributes {
  const implied = instance.implied.get(directory);
  if (implied !== undefined) return implied;
  const { tree } = instance;
  const { mode, uid, gid, xattrs } = tree.attributes[tree.attribute[directory]];
  return {
    mode,
    uid,
    gid,
    xattrs,
    mtimeSeconds: tree.mtimeSeconds[directory],
    mtimeNanoseconds: tree.mtimeNanoseconds[directory],
  };
}
