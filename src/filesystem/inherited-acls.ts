import { aclName, inheritedXattrs, mergedXattrs, xattrsAfterChmod } from "../layers/apply/xattr-policy.ts";
import {
  fileType,
  type InodeAttributes,
  type LayerOrigins,
  type LayerTree,
  originBits,
  packNumbers,
  type Xattr,
} from "../layers/layer-tree.ts";

/**
 * `tree` with the ACLs that its entries inherit from directories as `made` (by source), and the xattrs which those keep whose own entry
 * came later. The tree itself where that changes nothing. Implied directories are left as they are.
 */
export function withInherited(
  tree: LayerTree,
  origins: LayerOrigins,
  made: readonly { readonly xattrs: readonly Xattr[] }[],
): LayerTree {
  const attributes: InodeAttributes[] = [...tree.attributes];
  const attribute = Uint32Array.from(tree.attribute);
  const numbers = new Map<string, number>();
  let isChanged = false;
  for (let inode = 0; inode < tree.inodeCount; inode++) {
    const state = origins.state[inode];
    if (state >>> originBits.shift === 0 || (inode < tree.directoryCount && tree.payload[inode] === 1)) continue;
    const key = `${attribute[inode]} ${state}`;
    let number = numbers.get(key);
    if (number === undefined) {
      const own = tree.attributes[attribute[inode]];
      const xattrs = inheritedBy(own, state, made[(state >>> originBits.shift) - 1].xattrs);
      number = sameXattrs(own.xattrs, xattrs) ? attribute[inode] : attributes.push({ ...own, xattrs }) - 1;
      numbers.set(key, number);
    }
    if (number !== attribute[inode]) isChanged = true;
    attribute[inode] = number;
  }
  return isChanged ? { ...tree, attributes, attribute: packNumbers(attribute) } : tree;
}

/** The xattrs of an inode with what it has from `source`: the directory that it was made in, or it itself when it was implied. */
function inheritedBy(own: InodeAttributes, state: number, source: readonly Xattr[]): readonly Xattr[] {
  const isOwn = (xattr: Xattr): boolean => {
    const acl = aclName(xattr);
    if (acl === undefined) return true;
    return (state & (acl === "access" ? originBits.ownAccess : originBits.ownDefault)) !== 0;
  };
  const isDirectory = (own.mode & fileType.mask) === fileType.directory;
  const given = (state & originBits.entered) !== 0 ? source : inheritedXattrs(source, own.mode, isDirectory);
  // An ACL that the entry itself has set or taken away is not inherited.
  const taken = given.filter((xattr) => aclName(xattr) === undefined || !isOwn(xattr));
  return xattrsAfterChmod(mergedXattrs(taken, own.xattrs.filter(isOwn)), own.mode);
}

/** Whether two default ACLs, where there are any, are the same. */
export function sameAcl(a: Xattr | undefined, b: Xattr | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a.value, b.value) === 0;
}

function sameXattrs(a: readonly Xattr[], b: readonly Xattr[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ name, value }, i) => Buffer.compare(name, b[i].name) === 0 && Buffer.compare(value, b[i].value) === 0)
  );
}
