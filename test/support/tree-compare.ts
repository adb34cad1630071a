import { closeSync, openSync, readSync } from "node:fs";
import { isWhiteout, type TreeEntry, walkTree } from "./tree-walk.ts";

export type CompareRules = {
  /** A directory with mtime 0 in the actual tree is one that the tar only implies: its time is not compared. */
  readonly impliedDirectories?: boolean;
  /** More paths are not told; the message says how many there were. Default: 20. */
  readonly most?: number;
};

/**
 * How the tree at `actual` differs from the one at `expected`: paths, types, modes, owners, times to the nanosecond, xattrs,
 * device numbers, link targets, contents, which paths share an inode, and link counts (not of directories). Of a
 * whiteout the time and link count are not compared: the unpacker makes it now, and each by itself.
 * Empty when they are equal; each line names the path.
 */
export function compareTrees(expected: string, actual: string, rules: CompareRules = {}): string[] {
  const differences: string[] = [];
  const wanted = readTree(expected);
  const found = readTree(actual);
  const wantedGroups = firstPaths(wanted.values());
  const foundGroups = firstPaths(found.values());
  const compared = new Set<string>();
  for (const [path, entry] of wanted) {
    const other = found.get(path);
    if (other === undefined) {
      differences.push(`${show(path)}: missing`);
      continue;
    }
    for (const difference of compareEntries(entry, other, rules)) differences.push(`${show(path)}: ${difference}`);
    const first = wantedGroups.get(inodeKey(entry)) ?? path;
    const otherFirst = foundGroups.get(inodeKey(other)) ?? path;
    if (!entry.stats.isDirectory() && !isWhiteout(entry) && first !== otherFirst) {
      differences.push(`${show(path)}: shares its inode with ${show(otherFirst)}, wanted ${show(first)}`);
    }
    const pair = `${inodeKey(entry)} ${inodeKey(other)}`;
    if (entry.stats.isFile() && other.stats.isFile() && entry.stats.size === other.stats.size && !compared.has(pair)) {
      compared.add(pair);
      const at = firstDifferentByte(entry.absolute, other.absolute);
      if (at !== undefined) differences.push(`${show(path)}: content differs from byte ${at}`);
    }
  }
  for (const path of found.keys()) {
    if (!wanted.has(path)) differences.push(`${show(path)}: should not be there`);
  }
  const most = rules.most ?? 20;
  if (differences.length <= most) return differences;
  return [...differences.slice(0, most), `and ${differences.length - most} more`];
}

function* compareEntries(wanted: TreeEntry, found: TreeEntry, rules: CompareRules): Generator<string> {
  const a = wanted.stats;
  const b = found.stats;
  if (a.mode !== b.mode) yield `mode ${b.mode.toString(8)}, wanted ${a.mode.toString(8)}`;
  if (a.uid !== b.uid) yield `uid ${b.uid}, wanted ${a.uid}`;
  if (a.gid !== b.gid) yield `gid ${b.gid}, wanted ${a.gid}`;
  if (a.rdev !== b.rdev) yield `device ${b.rdev}, wanted ${a.rdev}`;
  if (a.isFile() && b.isFile() && a.size !== b.size) yield `size ${b.size}, wanted ${a.size}`;
  if (wanted.target !== found.target) yield `target ${found.target}, wanted ${wanted.target}`;
  const implied = rules.impliedDirectories === true && b.isDirectory() && b.mtimeNs === 0n;
  const whiteout = isWhiteout(wanted) && isWhiteout(found);
  if (a.mtimeNs !== b.mtimeNs && !implied && !whiteout) yield `mtime ${b.mtimeNs}, wanted ${a.mtimeNs}`;
  if (a.nlink !== b.nlink && !a.isDirectory() && !whiteout) yield `${b.nlink} links, wanted ${a.nlink}`;
  for (const [name, value] of wanted.xattrs) {
    const other = found.xattrs.get(name);
    if (other === undefined) yield `xattr ${name} is missing`;
    else if (!other.equals(value)) yield `xattr ${name} is ${other.toString("hex")}, wanted ${value.toString("hex")}`;
  }
  for (const name of found.xattrs.keys()) {
    if (!wanted.xattrs.has(name)) yield `xattr ${name} should not be there`;
  }
}

function readTree(root: string): Map<string, TreeEntry> {
  const entries = new Map<string, TreeEntry>();
  for (const entry of walkTree(root)) entries.set(entry.path, entry);
  return entries;
}

/** The first path of each inode. */
function firstPaths(entries: Iterable<TreeEntry>): Map<string, string> {
  const first = new Map<string, string>();
  for (const entry of entries) {
    const key = inodeKey(entry);
    if (!first.has(key)) first.set(key, entry.path);
  }
  return first;
}

function inodeKey({ stats }: TreeEntry): string {
  return `${stats.dev}:${stats.ino}`;
}

const pieceBytes = 1 << 20;
const pieceA = Buffer.alloc(pieceBytes);
const pieceB = Buffer.alloc(pieceBytes);

function firstDifferentByte(pathA: Buffer, pathB: Buffer): number | undefined {
  const a = openSync(pathA, "r");
  const b = openSync(pathB, "r");
  try {
    for (let offset = 0; ; ) {
      const length = readSync(a, pieceA, 0, pieceBytes, offset);
      const other = readSync(b, pieceB, 0, pieceBytes, offset);
      if (!pieceA.subarray(0, length).equals(pieceB.subarray(0, other))) {
        let index = 0;
        while (index < Math.min(length, other) && pieceA[index] === pieceB[index]) index++;
        return offset + index;
      }
      if (length === 0) return undefined;
      offset += length;
    }
  } finally {
    closeSync(a);
    closeSync(b);
  }
}

function show(path: string): string {
  const text = `/${path}`.replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return text.length <= 200 ? text : `${text.slice(0, 80)}…${text.slice(-80)}`;
}
