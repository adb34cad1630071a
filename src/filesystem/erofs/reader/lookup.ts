import { ErofsError } from "../erofs-error.ts";
import type { DirectoryEntry } from "./directory-block.ts";
import type { ErofsImage } from "./erofs-image.ts";
import { type Inode, isDirectory } from "./inode-parser.ts";

/** The entry called `name`, or undefined. */
export async function findEntry(
  image: ErofsImage,
  directory: Inode,
  name: Uint8Array,
): Promise<DirectoryEntry | undefined> {
  for await (const { entries } of image.directoryBlocks(directory)) {
    if (entries.length === 0 || Buffer.compare(entries[entries.length - 1].name, name) < 0) continue;
    return entries.find((entry) => entry.name.equals(name));
  }
  return undefined;
}

/**
 * The inode at `path`; a leading slash, doubled slashes and `.` make no difference, `..` goes up. Symbolic links are not
 * followed. Throws `ErofsError` `not-found` or `not-a-directory`.
 */
export async function lookup(image: ErofsImage, path: string | Uint8Array): Promise<Inode> {
  const bytes = Buffer.from(path);
  const steps: Inode[] = [await image.root()];
  for (const name of splitPath(bytes)) {
    const directory = steps[steps.length - 1];
    const shown = () => `${image.source.name}: ${bytes.toString()}`;
    if (!isDirectory(directory)) throw new ErofsError("not-a-directory", `${shown()}: not a directory`);
    if (name.equals(dotDot)) {
      if (steps.length > 1) steps.pop();
      continue;
    }
    const entry = await findEntry(image, directory, name);
    if (entry === undefined) throw new ErofsError("not-found", `${shown()}: no such file or directory`);
    steps.push(await image.inode(entry.nid));
  }
  return steps[steps.length - 1];
}

const dot = Buffer.from(".");
const dotDot = Buffer.from("..");

/** The names of a path; `.` and empty ones are left out. */
export function splitPath(path: Buffer): Buffer[] {
  const names: Buffer[] = [];
  let start = 0;
  while (start <= path.length) {
    const slash = path.indexOf(0x2f, start);
    const end = slash === -1 ? path.length : slash;
    const name = path.subarray(start, end);
    if (name.length > 0 && !name.equals(dot)) names.push(name);
    start = end + 1;
  }
  return names;
}

/** Whether `entry` is `.` or `..`. */
export function isDotEntry(entry: DirectoryEntry): boolean {
  const { name } = entry;
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}

/** The entries of a directory without `.` and `..`, a block at a time. */
export async function* directoryEntries(image: ErofsImage, directory: Inode): AsyncGenerator<DirectoryEntry> {
  for await (const { entries } of image.directoryBlocks(directory)) {
    for (const entry of entries) if (!isDotEntry(entry)) yield entry;
  }
}
