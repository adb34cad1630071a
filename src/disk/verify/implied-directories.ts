import { type Place, placeInside, rootPlace, showPlace } from "../../filesystem/erofs/checker/place.ts";
import type { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import { direntType } from "../../filesystem/erofs/constants.ts";
import { type Inode, isDirectory, isSymbolicLink } from "../../filesystem/erofs/reader/inode-parser.ts";
import { directoryEntries, findEntry, splitPath } from "../../filesystem/erofs/reader/lookup.ts";
import { aclAfterChmod, aclKind } from "../../layers/apply/posix-acl.ts";
import type { Xattr } from "../../layers/layer-tree.ts";
import type { DiskReader } from "../reader/disk-reader.ts";
import type { ExpectedLayer } from "./index-check.ts";
import { sameXattrs, withoutOverlayXattrs } from "./inode-attributes.ts";

const maxLinks = 255;
const setgid = 0o2000;
const accessAcl = Buffer.from("system.posix_acl_access");
const defaultAcl = Buffer.from("system.posix_acl_default");

/** By nid: where directories of a layer's tree stand within it, and the nid of the directory that they are in. */
export type ImpliedDirectories = ReadonlyMap<number, { readonly place: Place; readonly parentNid: number }>;

/**
 * The directories of the tree at `path` that have the given numbers: they are numbered breadth first, children by name.
 * Numbers of no directory are left out.
 */
export async function findImplied(
  disk: DiskReader,
  path: string,
  numbers: readonly number[],
): Promise<ImpliedDirectories> {
  const found = new Map<number, { place: Place; parentNid: number }>();
  if (numbers.length === 0) return found;
  const wanted = new Set(numbers);
  const rootNid = (await disk.lookup(path)).nid;
  const queue = [{ nid: rootNid, place: rootPlace, parentNid: rootNid }];
  for (let d = 0; d < queue.length; d++) {
    const { nid, place, parentNid } = queue[d];
    if (wanted.has(d)) found.set(nid, { place, parentNid });
    for await (const entry of directoryEntries(disk.image, await disk.image.inode(nid))) {
      if (entry.type === direntType.directory) {
        queue.push({ nid: entry.nid, place: placeInside(place, entry.name), parentNid: nid });
      }
    }
  }
  return found;
}

/**
 * Implied directories have mode, owner and xattrs of what the first layer below has at their path, each layer looked at alone
 * with links resolved within its root. Where none has a directory there they are 0755 and 0:0, or of the group of the directory
 * that they are in where that one is setgid. Those of a default ACL are added that they would inherit. Their mtime is 0. Where the tree
 * `inherits`, the tar may have changed the directory that they are in later: ACLs, and the group of a directory made anew, are not checked.
 */
export async function checkImplied(
  disk: DiskReader,
  tree: string,
  implied: ImpliedDirectories,
  { stack, height, inherits }: Pick<ExpectedLayer, "stack" | "height" | "inherits">,
  /** Those of layer trees that were looked up before, by path. */
  roots: Map<string, Inode>,
  problems: ProblemList,
): Promise<void> {
  const below = implied.size === 0 ? [] : await lowerRoots(disk, { stack, height }, roots);
  for (const [nid, { place, parentNid }] of implied) {
    const inode = await disk.image.inode(nid);
    const parent = await disk.image.inode(parentNid);
    const model = await directoryBelow(disk, namesBelow(place, rootPlace), below);
    const difference = await impliedDifference(disk, inode, parent, model, !inherits);
    if (difference !== undefined) problems.add(`/${tree}${showPlace(place)}`, difference);
    if (problems.isFull) return;
  }
}

async function impliedDifference(
  disk: DiskReader,
  inode: Inode,
  parent: Inode,
  model: Inode | undefined,
  isExact: boolean,
): Promise<string | undefined> {
  if (inode.mtimeSeconds !== 0 || inode.mtimeNanoseconds !== 0) return "is implied by its layer but has an mtime";
  const { mode, uid, gid } = model ?? { mode: 0o040755, uid: 0, gid: (parent.mode & setgid) === 0 ? 0 : parent.gid };
  const copied = model === undefined ? [] : withoutOverlayXattrs(await disk.image.xattrs(model));
  const xattrs = [...copied, ...inheritedAcls(await disk.image.xattrs(parent), mode).filter(notIn(copied))];
  const own = withoutOverlayXattrs(await disk.image.xattrs(inode));
  const compared = (all: readonly Xattr[]) => (isExact ? all : all.filter(({ name }) => !isAcl(name)));
  const isGroup = inode.gid === gid || (!isExact && model === undefined);
  const isSame = inode.mode === mode && inode.uid === uid && isGroup && sameXattrs(compared(own), compared(xattrs));
  return isSame ? undefined : "is implied by its layer but does not have mode, owner and xattrs of the layers below";
}

/** What Linux gives a directory with this mode that is made in one with a default ACL. */
function inheritedAcls(ofParent: readonly Xattr[], mode: number): Xattr[] {
  const inherited = ofParent.find(({ name }) => defaultAcl.equals(name));
  if (inherited === undefined) return [];
  const access = { name: accessAcl, value: aclAfterChmod(inherited.value, mode) };
  return aclKind(inherited.value) === "extended" ? [access, inherited] : [inherited];
}

export function isAcl(name: Uint8Array): boolean {
  return accessAcl.equals(name) || defaultAcl.equals(name);
}

function notIn(others: readonly Xattr[]): (xattr: Xattr) => boolean {
  return ({ name }) => !others.some((other) => Buffer.compare(other.name, name) === 0);
}

/** Roots of the trees below a layer, topmost first. `roots`: those that were looked up before, by path. */
export async function lowerRoots(
  disk: DiskReader,
  { stack, height }: Pick<ExpectedLayer, "stack" | "height">,
  roots: Map<string, Inode>,
): Promise<readonly Inode[]> {
  const below: Inode[] = [];
  for (let i = height; i > 0; i--) {
    const path = stack[i - 1];
    const root = roots.get(path) ?? (await disk.lookup(path));
    roots.set(path, root);
    below.push(root);
  }
  return below;
}

/** Names of a place below another one, from the last to the first. */
export function namesBelow(place: Place, above: Place): readonly Buffer[] {
  const names: Buffer[] = [];
  for (let at = place; at.parent !== undefined && at.depth > above.depth; at = at.parent) names.push(at.name);
  return names;
}

/** The directory that the first layer below has at a path; `names` from the last to the first. */
export async function directoryBelow(
  disk: DiskReader,
  names: readonly Buffer[],
  roots: readonly Inode[],
): Promise<Inode | undefined> {
  for (const root of roots) {
    const found = await resolveInRoot(disk, root, names);
    if (found !== undefined) return isDirectory(found) ? found : undefined;
  }
  return undefined;
}

/** `names` from the last to the first. Undefined when something on the way is missing. */
async function resolveInRoot(disk: DiskReader, root: Inode, names: readonly Buffer[]): Promise<Inode | undefined> {
  const rest = [...names];
  const parents = [root];
  let links = 0;
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    const directory = parents[parents.length - 1];
    if (name.equals(dotDot)) {
      if (parents.length > 1) parents.pop();
      continue;
    }
    const entry = await findEntry(disk.image, directory, name);
    if (entry === undefined) return undefined;
    const inode = await disk.image.inode(entry.nid);
    if (isDirectory(inode)) {
      parents.push(inode);
    } else if (isSymbolicLink(inode)) {
      if (++links > maxLinks) return undefined;
      const target = await disk.image.linkTarget(inode);
      if (target[0] === 0x2f) parents.length = 1;
      rest.push(...splitPath(target).reverse());
    } else {
      return rest.length === 0 ? inode : undefined;
    }
  }
  return parents[parents.length - 1];
}

const dotDot = Buffer.from("..");
