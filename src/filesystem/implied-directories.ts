import { inheritedXattrs, mergedXattrs } from "../layers/apply/xattr-policy.ts";
import { fileType, type LayerTree } from "../layers/layer-tree.ts";
import { ErofsError } from "./erofs/erofs-error.ts";
import { type DirectoryAttributes, directoryAttributes, type LayerInstance } from "./layer-instance.ts";
import { entryName, findChild, isDirectoryEntry, linkTarget } from "./names.ts";
import { isOverlayXattr, isWhiteout } from "./whiteouts.ts";

/** Links followed before a path counts as absent; as `fs.RootPath` of containerd/continuity does. */
const maximumLinks = 255;

const setgid = 0o2000;

/**
 * `tree` as it unpacks over `below` (topmost first): a directory that the tar only implies takes mode, owner and xattrs of
 * what stands at its path in the first layer below that has the path, unless that is no directory (containerd
 * `archive/tar.go`, `mkparent`). Each layer below is looked at alone, as its snapshot's folder is. Where it takes nothing from
 * below, it is 0755 and 0:0, but of the group of a setgid directory that it is in: so the kernel makes it. It inherits a default ACL of the
 * directory that it is in. mtime is 0.
 * Throws `ErofsError` where containerd refuses the layer: a path below that goes through a file, or through too many links.
 */
export function instantiate(tree: LayerTree, below: readonly LayerInstance[]): LayerInstance {
  const implied = new Map<number, DirectoryAttributes>();
  const instance = { tree, implied };
  if (tree.impliedDirectoryCount === 0) return instance;
  const visit = (directory: number, parent: number, path: readonly Uint8Array[]): void => {
    if (directory !== 0 && tree.payload[directory] === 1) {
      const own = directoryAttributes(instance, directory);
      const parentAttributes = directoryAttributes(instance, parent);
      const attributes = attributesBelow(path, below, parentAttributes) ?? madeIn(parentAttributes, own);
      // The layer's own opaque mark stays.
      if (attributes !== undefined)
        implied.set(directory, { ...attributes, xattrs: mergedXattrs(attributes.xattrs, own.xattrs) });
    }
    for (let entry = tree.firstChild[directory]; entry < tree.firstChild[directory + 1]; entry++)
      if (isDirectoryEntry(tree, entry)) visit(tree.entryInode[entry], directory, [...path, entryName(tree, entry)]);
  };
  visit(0, 0, []);
  return instance;
}

/**
 * What a directory takes from the one that it is made in: the group of a setgid one (containerd takes the bit itself away again), and
 * a default ACL. `undefined`: nothing.
 */
function madeIn(parent: DirectoryAttributes, own: DirectoryAttributes): DirectoryAttributes | undefined {
  const xattrs = inheritedXattrs(parent.xattrs, own.mode, true);
  if (xattrs.length === 0 && (parent.mode & setgid) === 0) return undefined;
  return { ...own, gid: (parent.mode & setgid) === 0 ? own.gid : parent.gid, xattrs };
}

function attributesBelow(
  path: readonly Uint8Array[],
  below: readonly LayerInstance[],
  parent: DirectoryAttributes,
): DirectoryAttributes | undefined {
  for (const [i, instance] of below.entries()) {
    // containerd makes no whiteouts in the lowest layer; a layer that other images have higher up has them there all the same.
    const found = lookUp(instance.tree, path, i === below.length - 1);
    if (found === undefined) continue;
    if (found.directory === undefined) return undefined;
    const { mode, uid, gid, xattrs } = directoryAttributes(instance, found.directory);
    // The copy leaves out trusted.*, so a directory opaque below is not opaque here. It adds to what the directory got when it was made.
    const copied = xattrs.filter((xattr) => !isOverlayXattr(xattr));
    return {
      mode,
      uid,
      gid,
      xattrs: mergedXattrs(inheritedXattrs(parent.xattrs, mode, true), copied),
      mtimeSeconds: 0,
      mtimeNanoseconds: 0,
    };
  }
  return undefined;
}

const isText = (bytes: Uint8Array, text: string): boolean =>
  bytes.length === text.length && bytes.every((byte, i) => byte === text.charCodeAt(i));

function splitPath(target: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i <= target.length; i++) {
    if (i < target.length && target[i] !== 0x2f) continue;
    if (i > start) parts.push(target.subarray(start, i));
    start = i + 1;
  }
  return parts;
}

const text = (name: Uint8Array): string => new TextDecoder().decode(name);

/** Follows `path` in one layer's tree with every link resolved within its root; `undefined` where something is missing. */
function lookUp(
  tree: LayerTree,
  path: readonly Uint8Array[],
  isLowest: boolean,
): { readonly directory: number | undefined } | undefined {
  const rest = [...path].reverse();
  const parents: number[] = [];
  let directory = 0;
  let links = 0;
  while (rest.length > 0) {
    const name = rest.pop() as Uint8Array;
    if (isText(name, ".")) continue;
    if (isText(name, "..")) {
      directory = parents.pop() ?? 0;
      continue;
    }
    const entry = findChild(tree, directory, name);
    if (entry === -1) return undefined;
    const inode = tree.entryInode[entry];
    if (inode < tree.directoryCount) {
      parents.push(directory);
      directory = inode;
      continue;
    }
    if (isLowest && isWhiteout(tree, inode)) return undefined;
    if ((tree.attributes[tree.attribute[inode]].mode & fileType.mask) !== fileType.symbolicLink) {
      if (rest.length === 0) return { directory: undefined };
      throw new ErofsError(
        "not-a-directory",
        `a directory that its tar leaves out lies below "${text(name)}", which is no directory in a lower layer; containerd refuses this too: add the missing directories to the layer`,
      );
    }
    if (++links > maximumLinks)
      throw new ErofsError(
        "limit",
        `the path of a directory that its tar leaves out goes through more than ${maximumLinks} links at "${text(name)}" in a lower layer`,
      );
    const target = linkTarget(tree, inode);
    if (target[0] === 0x2f) {
      directory = 0;
      parents.length = 0;
    }
    rest.push(...splitPath(target).reverse());
  }
  return { directory };
}
