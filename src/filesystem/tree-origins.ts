import { aclName, defaultAclOf } from "../layers/apply/xattr-policy.ts";
import { fileType, type InodeAttributes, type LayerOrigins, type LayerTree, originBits } from "../layers/layer-tree.ts";
import { entryName, isDirectoryEntry } from "./names.ts";

/** The origins of a tree that has none of its own: they follow from it. Every directory is a node of the paths, with its number. */
export function originsOfTree(tree: LayerTree): LayerOrigins {
  const { directoryCount } = tree;
  const pathParents = new Uint32Array(directoryCount);
  const pathNameEnds = new Uint32Array(directoryCount);
  const pathNames = directoryNames(tree);
  const sources = tree.impliedDirectoryCount;
  const [sourcePath, sourceFrom, sourceKnown] = [0, 1, 2].map(() => new Uint32Array(sources));
  const known: InodeAttributes[] = [];
  const knownOf = new Map<number, number>();
  const state = new Uint32Array(tree.inodeCount);
  const acls = tree.attributes.map(({ xattrs }) => xattrs.some((xattr) => aclName(xattr) !== undefined));
  /** Per directory: the one whose attributes say what a layer alone would have it give. */
  const giver = new Uint32Array(directoryCount);
  let source = 0;
  let nameBytes = 0;
  const visit = (directory: number): void => {
    const isImplied = tree.payload[directory] === 1;
    const givenBy = (state[directory] & originBits.ownDefault) === 0 ? state[directory] >>> originBits.shift : 0;
    const hasFallback = defaultAclOf(tree.attributes[tree.attribute[giver[directory]]].xattrs) !== undefined;
    for (let entry = tree.firstChild[directory]; entry < tree.firstChild[directory + 1]; entry++) {
      const inode = tree.entryInode[entry];
      if (isDirectoryEntry(tree, entry)) {
        const name = entryName(tree, entry);
        pathNames.set(name, nameBytes);
        nameBytes += name.length;
        pathNameEnds[inode] = nameBytes;
        pathParents[inode] = directory;
        giver[inode] = inode;
        if (tree.payload[inode] === 1) {
          giver[inode] = giver[directory];
          const attribute = tree.attribute[giver[directory]];
          if (!knownOf.has(attribute)) knownOf.set(attribute, known.push(tree.attributes[attribute]) - 1);
          sourcePath[source] = inode;
          sourceFrom[source] = givenBy * 2 + (isImplied ? 1 : 0);
          sourceKnown[source] = knownOf.get(attribute) ?? 0;
          state[inode] = ++source << originBits.shift;
          continue;
        }
      }
      if (givenBy === 0) continue;
      // Where the layer's own entries give a default ACL as well, an ACL is inherited: `OriginRecorder` keeps the other cases.
      const own = hasFallback || !acls[tree.attribute[inode]] ? 0 : ownBits(tree.attributes[tree.attribute[inode]]);
      if (!isSymbolicLink(tree, inode)) state[inode] = (givenBy << originBits.shift) | own;
    }
  };
  // Children of a directory are neighbours in breadth-first order, so parents come first.
  for (let directory = 0; directory < directoryCount; directory++) visit(directory);
  return { pathParents, pathNames, pathNameEnds, sourcePath, sourceFrom, sourceKnown, known, state };
}

/** Room for the names of all directories. */
function directoryNames(tree: LayerTree): Uint8Array {
  let bytes = 0;
  for (let entry = 1; entry < tree.entryCount; entry++)
    if (isDirectoryEntry(tree, entry)) bytes += tree.nameEnds[entry] - tree.nameEnds[entry - 1];
  return new Uint8Array(bytes);
}

function ownBits({ xattrs }: InodeAttributes): number {
  let bits = 0;
  for (const xattr of xattrs) {
    const acl = aclName(xattr);
    if (acl === "access") bits |= originBits.ownAccess;
    if (acl === "default") bits |= originBits.ownDefault;
  }
  return bits;
}

function isSymbolicLink(tree: LayerTree, inode: number): boolean {
  return (tree.attributes[tree.attribute[inode]].mode & fileType.mask) === fileType.symbolicLink;
}
