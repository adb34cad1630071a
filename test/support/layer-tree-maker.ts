import { fileType, type InodeAttributes, type LayerTree, noContent, type Xattr } from "../../src/layers/layer-tree.ts";

/** A tree written down by hand: what `LayerTree` packs. Files are told apart by their mtime. */
export type TreeNode =
  | { readonly kind: "file"; readonly mtime: number }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "whiteout" }
  | {
      readonly kind: "directory";
      readonly children: Readonly<Record<string, TreeNode>>;
      readonly mtime?: number;
      readonly mode?: number;
      readonly gid?: number;
      readonly isOpaque?: boolean;
      readonly isImplied?: boolean;
    };

export type DirectoryTree = Extract<TreeNode, { readonly kind: "directory" }>;

const encoder = new TextEncoder();

/** Packs `root` in the order that `LayerTree` asks for. */
export function makeLayerTree(root: DirectoryTree): LayerTree {
  const directories: DirectoryTree[] = [root];
  const leaves: Exclude<TreeNode, DirectoryTree>[] = [];
  const entries: { name: Uint8Array; node: TreeNode; inode: number }[] = [
    { name: new Uint8Array(0), node: root, inode: 0 },
  ];
  const firstChild: number[] = [];
  for (let d = 0; d < directories.length; d++) {
    firstChild.push(entries.length);
    const names = Object.keys(directories[d].children).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of names) {
      const node = directories[d].children[name];
      const inode = node.kind === "directory" ? directories.push(node) - 1 : leaves.push(node) - 1;
      entries.push({ name: encoder.encode(name), node, inode });
    }
  }
  firstChild.push(entries.length);
  const inodes: TreeNode[] = [...directories, ...leaves];
  const links = leaves.filter((leaf) => leaf.kind === "link");
  const targets = links.map(({ target }) => encoder.encode(target));
  return {
    entryCount: entries.length,
    names: Buffer.concat(entries.map(({ name }) => name)),
    nameEnds: ends(entries.map(({ name }) => name.length)),
    entryInode: Uint32Array.from(entries, ({ node, inode }) =>
      node.kind === "directory" ? inode : directories.length + inode,
    ),
    inodeCount: inodes.length,
    directoryCount: directories.length,
    firstChild: Uint32Array.from(firstChild),
    attribute: Uint32Array.from(inodes, (_, i) => i),
    attributes: inodes.map(attributesOf),
    mtimeSeconds: Float64Array.from(inodes, (node) => ("mtime" in node ? (node.mtime ?? 0) : 0)),
    mtimeNanoseconds: new Uint32Array(inodes.length),
    linkCount: new Uint32Array(inodes.length).fill(1),
    payload: Uint32Array.from(inodes, (node) => {
      if (node.kind === "directory") return node.isImplied ? 1 : 0;
      if (node.kind === "file") return noContent;
      return node.kind === "link" ? links.indexOf(node) : 0;
    }),
    targets: Buffer.concat(targets),
    targetEnds: ends(targets.map(({ length }) => length)),
    impliedDirectoryCount: directories.filter(({ isImplied }) => isImplied).length,
  };
}

function ends(lengths: readonly number[]): Uint32Array {
  let end = 0;
  return Uint32Array.from(lengths, (length) => {
    end += length;
    return end;
  });
}

function attributesOf(node: TreeNode): InodeAttributes {
  const owner = { uid: 0, gid: 0 };
  switch (node.kind) {
    case "directory": {
      const opaque: Xattr = { name: encoder.encode("trusted.overlay.opaque"), value: encoder.encode("y") };
      return {
        uid: 0,
        gid: node.gid ?? 0,
        mode: fileType.directory | (node.mode ?? 0o755),
        xattrs: node.isOpaque ? [opaque] : [],
      };
    }
    case "file":
      return { ...owner, mode: fileType.regular | 0o644, xattrs: [] };
    case "link":
      return { ...owner, mode: fileType.symbolicLink | 0o777, xattrs: [] };
    case "whiteout":
      return { ...owner, mode: fileType.characterDevice, xattrs: [] };
  }
}
