import type { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { type Inode, isSymbolicLink } from "../../filesystem/erofs/reader/inode-parser.ts";
import { fileType } from "../../layers/layer-tree.ts";

/** One line of `ls -l`, in columns; the name is added behind them. */
export type LongRow = readonly [mode: string, links: string, owner: string, group: string, size: string, time: string];

/** Columns of `LongRow` that are aligned to the right. */
export const rightColumns: readonly number[] = [1, 2, 3, 4];

export function longRow(inode: Inode): LongRow {
  return [
    modeString(inode.mode),
    String(inode.linkCount),
    String(inode.uid),
    String(inode.gid),
    isDevice(inode) ? deviceNumbers(inode.union) : String(inode.sizeBytes),
    showTime(inode.mtimeSeconds),
  ];
}

/** In UTC; beyond what a calendar can say, the seconds. */
function showTime(seconds: number): string {
  if (seconds > lastDateSeconds) return String(seconds);
  return new Date(seconds * 1000)
    .toISOString()
    .replace("T", " ")
    .replace(/:\d\d\.\d+Z$/, "");
}

/** The last that `Date` can hold. */
const lastDateSeconds = 8_640_000_000_000;

/** ` -> target` of a symbolic link, else nothing. */
export async function linkSuffix(image: ErofsImage, inode: Inode): Promise<Buffer> {
  if (!isSymbolicLink(inode)) return Buffer.alloc(0);
  return Buffer.concat([Buffer.from(" -> "), await image.linkTarget(inode)]);
}

/** As a terminal may see it: control characters as `?`, like `ls` does. */
export function showName(name: Buffer, isTerminal: boolean): Buffer {
  if (!isTerminal) return name;
  return Buffer.from(name).map((byte) => (byte < 0x20 || byte === 0x7f ? 0x3f : byte)) as Buffer;
}

const typeLetters = new Map<number, string>([
  [fileType.fifo, "p"],
  [fileType.characterDevice, "c"],
  [fileType.directory, "d"],
  [fileType.blockDevice, "b"],
  [fileType.regular, "-"],
  [fileType.symbolicLink, "l"],
]);

/** `drwxr-xr-x`. */
export function modeString(mode: number): string {
  const triple = (shift: number, special: number, letter: string) => {
    const bits = mode >>> shift;
    const executable = (bits & 1) !== 0;
    const last = (mode & special) === 0 ? (executable ? "x" : "-") : executable ? letter : letter.toUpperCase();
    return `${(bits & 4) === 0 ? "-" : "r"}${(bits & 2) === 0 ? "-" : "w"}${last}`;
  };
  const letter = typeLetters.get(mode & fileType.mask) ?? "?";
  return `${letter}${triple(6, 0o4000, "s")}${triple(3, 0o2000, "s")}${triple(0, 0o1000, "t")}`;
}

function isDevice({ mode }: Inode): boolean {
  const type = mode & fileType.mask;
  return type === fileType.characterDevice || type === fileType.blockDevice;
}

/** `major, minor` of a device number as Linux `new_encode_dev` stores it. */
function deviceNumbers(rdev: number): string {
  return `${(rdev >>> 8) & 0xfff}, ${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;
}
