import type { ContentTable } from "../content-table.ts";
import {
  fileType,
  type InodeAttributes,
  type LayerOrigins,
  type LayerTree,
  noContent,
  packNumbers,
} from "../layer-tree.ts";
import { type EntryTable, root } from "./entry-table.ts";
import type { GrowingArray } from "./growing.ts";
import { type InodeTable, none } from "./inode-table.ts";
import { renumbered } from "./origins.ts";
import { sortByName } from "./sort-by-name.ts";
import { isNamed } from "./xattr-policy.ts";

export type SealedLayer = {
  readonly tree: LayerTree;
  /** Sorted numbers of contents that no file has. */
  readonly deadContents: Uint32Array<ArrayBuffer>;
  /** Sum of the sizes of all regular files, hard links once. */
  readonly fileBytes: number;
};

/** Packs a finished tree in the order that `LayerTree` describes. The tables are used up. `origins` has the numbers of `inodes`. */
export function sealLayer(
  entries: EntryTable,
  inodes: InodeTable,
  contents: ContentTable,
  origins?: LayerOrigins,
): SealedLayer {
  // The largest trees decide the peak of memory: each column goes as soon as its packed form is there.
  entries.freeSlots();
  const { order, directoryEnds } = breadthFirst(entries, inodes);
  const { names, nameEnds } = packNames(entries, order);
  const entryInode = order;
  for (let i = 0; i < order.length; i++) entryInode[i] = entries.inode(order[i] as number);
  entries.free();
  inodes.firstChild.free();
  const { numbers, oldOfNew, directoryCount, deadContents } = numberInodes(entryInode, inodes, contents);
  for (let i = 0; i < entryInode.length; i++) entryInode[i] = numbers[entryInode[i] as number] as number;
  const inodeCount = oldOfNew.length;

  const linkCount = packed(new Uint32Array(inodeCount), inodes.linkCount, oldOfNew);
  const mtimeSeconds = packed(new Float64Array(inodeCount), inodes.mtimeSeconds, oldOfNew);
  const mtimeNanoseconds = packed(new Uint32Array(inodeCount), inodes.mtimeNanoseconds, oldOfNew);
  const { targets, targetEnds } = packTargets(inodes, oldOfNew);
  const payload = packed(new Uint32Array(inodeCount), inodes.payload, oldOfNew);
  const oldAttribute = packed(new Uint32Array(inodeCount), inodes.attribute, oldOfNew);
  const attribute = oldAttribute;
  const attributes: InodeAttributes[] = [];
  const attributeNumbers = new Map<number, number>();
  let impliedDirectoryCount = 0;
  let fileBytes = 0;
  let nextTarget = 0;
  for (let inode = 0; inode < inodeCount; inode++) {
    const old = oldAttribute[inode] as number;
    const value = payload[inode] as number;
    const isImplied = inode < directoryCount && value === 1;
    const key = isImplied ? -1 - old : old;
    let number = attributeNumbers.get(key);
    if (number === undefined) {
      const whole = inodes.attributes.get(old);
      number = attributes.push(isImplied ? bare(whole) : whole) - 1;
      attributeNumbers.set(key, number);
    }
    attribute[inode] = number;
    const type = (attributes[number] as InodeAttributes).mode & fileType.mask;
    if (isImplied) impliedDirectoryCount++;
    if (type === fileType.regular && value !== noContent) fileBytes += contents.size(value);
    if (type === fileType.symbolicLink) payload[inode] = nextTarget++;
  }
  const { firstChild, subdirectories } = childRanges(directoryEnds, entryInode, directoryCount);
  for (let directory = 0; directory < directoryCount; directory++)
    linkCount[directory] = 2 + (subdirectories[directory] as number);
  const tree: LayerTree = {
    entryCount: order.length,
    names,
    nameEnds,
    entryInode,
    inodeCount,
    directoryCount,
    firstChild,
    attribute: packNumbers(attribute),
    attributes,
    mtimeSeconds: packNumbers(mtimeSeconds),
    mtimeNanoseconds: packNumbers(mtimeNanoseconds),
    linkCount: packNumbers(linkCount),
    payload,
    targets,
    targetEnds,
    impliedDirectoryCount,
    ...(origins && { origins: renumbered(origins, oldOfNew) }),
  };
  return { tree, deadContents, fileBytes };
}

/** What the layer itself says of an implied directory; the rest depends on the chain (`instantiate`). */
function bare({ xattrs }: InodeAttributes): InodeAttributes {
  const marks = xattrs.filter((xattr) => isNamed(xattr, "trusted.overlay.opaque"));
  return { mode: fileType.directory | 0o755, uid: 0, gid: 0, xattrs: marks };
}

type Words = Uint32Array<ArrayBuffer>;

/** A column of the inodes in their new order; the old one is given back. */
function packed<View extends Words | Float64Array<ArrayBuffer>>(
  target: View,
  source: GrowingArray<View>,
  oldOfNew: Words,
): View {
  for (let inode = 0; inode < oldOfNew.length; inode++)
    target[inode] = source.items[oldOfNew[inode] as number] as number;
  source.free();
  return target;
}

/** Targets of the symbolic links, by the order of their inodes. */
function packTargets(inodes: InodeTable, oldOfNew: Words): { targets: Uint8Array<ArrayBuffer>; targetEnds: Words } {
  let count = 0;
  let bytes = 0;
  for (const old of oldOfNew) {
    if (!inodes.isSymbolicLink(old)) continue;
    count++;
    bytes += inodes.target(old).length;
  }
  const targets = new Uint8Array(bytes);
  const targetEnds = new Uint32Array(count);
  let at = 0;
  let end = 0;
  for (const old of oldOfNew) {
    if (!inodes.isSymbolicLink(old)) continue;
    const target = inodes.target(old);
    targets.set(target, end);
    end += target.length;
    targetEnds[at++] = end;
  }
  inodes.targets.free();
  inodes.targetEnds.free();
  return { targets, targetEnds };
}

/** Entries in breadth-first order, and for each directory in that order the end of its children. */
function breadthFirst(entries: EntryTable, inodes: InodeTable): { order: Words; directoryEnds: Words } {
  const order = new Uint32Array(entries.length);
  const ends = new Uint32Array(entries.length);
  order[0] = root;
  let length = 1;
  let directories = 0;
  for (let at = 0; at < length; at++) {
    const entry = order[at] as number;
    if (!inodes.isDirectory(entries.inode(entry))) continue;
    const start = length;
    entries.forEachChild(entry, (child) => {
      order[length++] = child;
    });
    sortByName(order.subarray(start, length), entries);
    ends[directories++] = length;
  }
  return { order: order.slice(0, length), directoryEnds: ends.slice(0, directories) };
}

function packNames(entries: EntryTable, order: Words): { names: Uint8Array<ArrayBuffer>; nameEnds: Words } {
  const nameEnds = new Uint32Array(order.length);
  let bytes = 0;
  for (let i = 0; i < order.length; i++) {
    const entry = order[i] as number;
    bytes += entries.nameEnd(entry) - entries.nameStart(entry);
    nameEnds[i] = bytes;
  }
  const names = new Uint8Array(bytes);
  const source = entries.names;
  let end = 0;
  for (let i = 0; i < order.length; i++) {
    const entry = order[i] as number;
    const nameEnd = entries.nameEnd(entry);
    for (let from = entries.nameStart(entry); from < nameEnd; from++) names[end++] = source[from] as number;
  }
  return { names, nameEnds };
}

type Numbering = {
  /** New number of each old inode. */
  readonly numbers: Words;
  readonly oldOfNew: Words;
  readonly directoryCount: number;
  readonly deadContents: Words;
};

/** Directories, then inodes without content, then files by content; each by first entry. */
function numberInodes(oldInodes: Words, inodes: InodeTable, contents: ContentTable): Numbering {
  const numbers = new Uint32Array(inodes.attribute.length).fill(none);
  // Files of content c go to places [contentStart[c], contentStart[c + 1]) behind the others.
  const contentStart = new Uint32Array(contents.length + 1);
  const seen = none - 1;
  let directoryCount = 0;
  let plainCount = 0;
  let fileCount = 0;
  for (const old of oldInodes) {
    if (numbers[old] === seen) continue;
    numbers[old] = seen;
    if (inodes.isDirectory(old)) directoryCount++;
    else if (inodes.hasContent(old)) {
      fileCount++;
      const after = (inodes.payload.items[old] as number) + 1;
      contentStart[after] = (contentStart[after] as number) + 1;
    } else plainCount++;
  }
  const dead: number[] = [];
  for (let content = 0; content < contents.length; content++) {
    if (contentStart[content + 1] === 0) dead.push(content);
    contentStart[content + 1] = (contentStart[content + 1] as number) + (contentStart[content] as number);
  }
  const oldOfNew = new Uint32Array(directoryCount + plainCount + fileCount);
  let nextDirectory = 0;
  let nextPlain = directoryCount;
  const firstFile = directoryCount + plainCount;
  for (const old of oldInodes) {
    if (numbers[old] !== seen) continue;
    let number: number;
    if (inodes.isDirectory(old)) number = nextDirectory++;
    else if (inodes.hasContent(old)) {
      const content = inodes.payload.items[old] as number;
      number = firstFile + (contentStart[content] as number);
      contentStart[content] = (contentStart[content] as number) + 1;
    } else number = nextPlain++;
    numbers[old] = number;
    oldOfNew[number] = old;
  }
  return { numbers, oldOfNew, directoryCount, deadContents: Uint32Array.from(dead) };
}

function childRanges(
  directoryEnds: Words,
  entryInode: Words,
  directoryCount: number,
): { firstChild: Words; subdirectories: Words } {
  const firstChild = new Uint32Array(directoryCount + 1);
  const subdirectories = new Uint32Array(directoryCount);
  firstChild[0] = 1;
  for (let directory = 0; directory < directoryCount; directory++) {
    const end = directoryEnds[directory] as number;
    for (let child = firstChild[directory] as number; child < end; child++)
      if ((entryInode[child] as number) < directoryCount)
        subdirectories[directory] = (subdirectories[directory] as number) + 1;
    firstChild[directory + 1] = end;
  }
  return { firstChild, subdirectories };
}
