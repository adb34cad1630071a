import type { Inode } from "../../filesystem/erofs/reader/inode-parser.ts";
import type { Xattr } from "../../layers/layer-tree.ts";

/** The first thing in which two inodes differ that a user could see, leaving data and links aside; undefined when alike. */
export function differenceOf(
  a: Inode,
  aXattrs: readonly Xattr[],
  b: Inode,
  bXattrs: readonly Xattr[],
): string | undefined {
  if (a.mode !== b.mode) return `has mode 0${a.mode.toString(8)} instead of 0${b.mode.toString(8)}`;
  if (a.uid !== b.uid || a.gid !== b.gid) return `has owner ${a.uid}:${a.gid} instead of ${b.uid}:${b.gid}`;
  if (a.mtimeSeconds !== b.mtimeSeconds || a.mtimeNanoseconds !== b.mtimeNanoseconds) {
    return `has mtime ${showTime(a)} instead of ${showTime(b)}`;
  }
  if (!sameXattrs(aXattrs, bXattrs)) return "has other xattrs";
  return undefined;
}

function showTime({ mtimeSeconds, mtimeNanoseconds }: Inode): string {
  return `${mtimeSeconds}.${String(mtimeNanoseconds).padStart(9, "0")}`;
}

/** Whether both have the same names with the same values, in whatever order. */
export function sameXattrs(a: readonly Xattr[], b: readonly Xattr[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ name, value }) => {
    const other = b.find((xattr) => Buffer.compare(xattr.name, name) === 0);
    return other !== undefined && Buffer.compare(other.value, value) === 0;
  });
}

const overlayPrefix = "trusted.overlay.";
const opaqueName = "trusted.overlay.opaque";

/** What overlayfs shows of the xattrs of a lower directory. */
export function withoutOverlayXattrs(xattrs: readonly Xattr[]): readonly Xattr[] {
  return xattrs.filter(({ name }) => !Buffer.from(name).toString("latin1").startsWith(overlayPrefix));
}

/** Whether overlayfs takes a directory with these xattrs as hiding what is below it. */
export function hidesLower(xattrs: readonly Xattr[]): boolean {
  return xattrs.some(({ name }) => Buffer.from(name).toString("latin1") === opaqueName);
}
