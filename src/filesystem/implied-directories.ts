import { defaultAclOf, inheritedXattrs, mergedXattrs } from "../layers/apply/xattr-policy.ts";
import { printableName } from "../layers/layer-error.ts";
import {
  fileType,
  type InodeAttributes,
  type LayerOrigins,
  type LayerTree,
  originBits,
  type Xattr,
} from "../layers/layer-tree.ts";
import { ErofsError } from "./erofs/erofs-error.ts";
import { sameAcl, withInherited } from "./inherited-acls.ts";
import { type DirectoryAttributes, directoryAttributes, type LayerInstance } from "./layer-instance.ts";
import { findChild, linkTarget } from "./names.ts";
import { originsOfTree } from "./tree-origins.ts";
import { isOverlayXattr, isWhiteout } from "./whiteouts.ts";

/** Links followed before a path counts as absent; as `fs.RootPath` of containerd/continuity does. */
const maximumLinks = 255;

const setgid = 0o2000;
const slash = Buffer.from("/");

/** What a directory was when the layer had implied it, over the layers below. */
export type MadeDirectory = {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs: readonly Xattr[];
};

const bare: MadeDirectory = { mode: fileType.directory | 0o755, uid: 0, gid: 0, xattrs: [] };

/**
 * `tree` as it unpacks over `below` (topmost first): a directory that the tar only implies takes mode, owner and xattrs of
 * what stands at its path in the first layer below that has the path, unless that is no directory (containerd
 * `archive/tar.go`, `mkparent`). Each layer below is looked at alone, as its snapshot's folder is. Where it takes nothing from
 * below, it is 0755 and 0:0, but of the group of a setgid directory that it is in: so the kernel makes it. It inherits a default ACL of the
 * directory that it is in. mtime is 0. A default ACL that it has got is inherited by what the layer makes in it, and its xattrs stay
 * when its own entry comes later.
 * Throws `ErofsError` where containerd refuses the layer: a path below that goes through a file, or through too many links.
 */
export function instantiate(tree: LayerTree, below: readonly LayerInstance[]): LayerInstance {
  const implied = new Map<number, DirectoryAttributes>();
  if (tree.impliedDirectoryCount === 0 && tree.origins === undefined) return { tree, implied };
  const origins = tree.origins ?? originsOfTree(tree);
  const made: MadeDirectory[] = [];
  let isAsAlone = tree.origins === undefined;
  for (let source = 0; source < origins.sourcePath.length; source++) {
    const directory = makeDirectory(origins, source, made, below);
    made.push(directory);
    isAsAlone &&= sameAcl(defaultAclOf(directory.xattrs), defaultAclOf(knownTo(origins, source).xattrs));
  }
  for (let directory = 1; directory < tree.directoryCount; directory++) {
    if (tree.payload[directory] !== 1) continue;
    const attributes = made[(origins.state[directory] >>> originBits.shift) - 1];
    if (attributes === bare) continue;
    // The layer's own opaque mark stays.
    const own = tree.attributes[tree.attribute[directory]].xattrs;
    const xattrs = mergedXattrs(attributes.xattrs, own);
    implied.set(directory, { ...attributes, xattrs, mtimeSeconds: 0, mtimeNanoseconds: 0 });
  }
  return { tree: isAsAlone ? tree : withInherited(tree, origins, made), implied };
}

function knownTo(origins: LayerOrigins, source: number): InodeAttributes {
  return origins.known[origins.sourceKnown[source]];
}

/**
 * A directory that the layer implies: it has what the layers below give it, and beside that what it takes from the one that it is made
 * in: the group of a setgid one (containerd takes the bit itself away again), and a default ACL.
 */
function makeDirectory(
  origins: LayerOrigins,
  source: number,
  made: readonly MadeDirectory[],
  below: readonly LayerInstance[],
): MadeDirectory {
  const from = origins.sourceFrom[source];
  const known = knownTo(origins, source);
  const parent = (from & 1) === 1 ? made[(from >>> 1) - 1] : known;
  const givenAcl = defaultAclOf(from >>> 1 === 0 ? known.xattrs : made[(from >>> 1) - 1].xattrs);
  const found = below.length === 0 ? undefined : directoryBelow(pathOf(origins, source), below);
  if (found === undefined && givenAcl === undefined && (parent.mode & setgid) === 0) return bare;
  const { mode, uid, gid, xattrs } = found ?? { ...bare, gid: (parent.mode & setgid) === 0 ? 0 : parent.gid };
  const inherited = givenAcl === undefined ? [] : inheritedXattrs([givenAcl], mode, true);
  // The copy leaves out trusted.*, so a directory opaque below is not opaque here. It adds to what the directory got when it was made.
  const copied = xattrs.filter((xattr) => !isOverlayXattr(xattr));
  return { mode, uid, gid, xattrs: mergedXattrs(inherited, copied) };
}

function pathOf(origins: LayerOrigins, source: number): Uint8Array[] {
  const path: Uint8Array[] = [];
  for (let node = origins.sourcePath[source]; node !== 0; node = origins.pathParents[node])
    path.push(origins.pathNames.subarray(origins.pathNameEnds[node - 1], origins.pathNameEnds[node]));
  return path.reverse();
}

function directoryBelow(path: readonly Uint8Array[], below: readonly LayerInstance[]): DirectoryAttributes | undefined {
  for (const [i, instance] of below.entries()) {
    // containerd makes no whiteouts in the lowest layer; a layer that other images have higher up has them there all the same.
    const found = lookUp(instance.tree, path, i === below.length - 1);
    if (found === undefined) continue;
    return found.directory === undefined ? undefined : directoryAttributes(instance, found.directory);
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

const shown = (path: readonly Uint8Array[]): string =>
  printableName(Buffer.concat(path.flatMap((name) => [slash, name])));

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
        `its tar leaves out the directory ${shown(path)}, which lies below "${text(name)}", which is no directory in a lower layer; containerd refuses this too: add the missing directories to the layer`,
      );
    }
    if (++links > maximumLinks)
      throw new ErofsError(
        "limit",
        `the path of the directory ${shown(path)}, which its tar leaves out, goes through more than ${maximumLinks} links at "${text(name)}" in a lower layer`,
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
