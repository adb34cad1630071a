import { dirent } from "../constants.ts";
import { ErofsError } from "../erofs-error.ts";
import { safeUint64 } from "./superblock-parser.ts";

export type DirectoryEntry = {
  /** Stays valid; not to be changed. */
  readonly name: Buffer;
  readonly nid: number;
  /** A value of `direntType`. */
  readonly type: number;
};

const slash = 0x2f;
const maxNameBytes = 255;

/**
 * The entries of one block of a directory: `struct erofs_dirent` records, then the names. Throws `ErofsError` `corrupt`
 * when the records contradict each other; `where` names the block in messages.
 */
export function parseDirectoryBlock(block: Buffer, where: string): DirectoryEntry[] {
  const fail = (what: string): never => {
    throw new ErofsError("corrupt", `${where}: ${what}`);
  };
  if (block.length < dirent.bytes) fail(`only ${block.length} bytes for a directory`);
  const namesStart = block.readUInt16LE(dirent.nameOffset);
  if (namesStart === 0 || namesStart % dirent.bytes !== 0 || namesStart >= block.length) {
    fail(`the first name begins at byte ${namesStart} of ${block.length}`);
  }
  const count = namesStart / dirent.bytes;
  const entries: DirectoryEntry[] = new Array(count);
  let start = namesStart;
  for (let i = 0; i < count; i++) {
    const record = i * dirent.bytes;
    const end =
      i + 1 < count ? block.readUInt16LE(record + dirent.bytes + dirent.nameOffset) : lastNameEnd(block, start);
    if (end <= start || end > block.length) fail(`name ${i} spans bytes ${start} to ${end} of ${block.length}`);
    if (end - start > maxNameBytes) fail(`name ${i} has ${end - start} bytes`);
    const name = block.subarray(start, end);
    for (const byte of name) if (byte === 0 || byte === slash) fail(`name ${i} has the byte ${byte}`);
    entries[i] = {
      name,
      nid: safeUint64(block, record + dirent.nid, `${where}: nid of name ${i}`),
      type: block[record + dirent.fileType],
    };
    start = end;
  }
  return entries;
}

/** The last name of a block ends at the first zero byte or with the block (Linux `fs/erofs/dir.c`). */
function lastNameEnd(block: Buffer, start: number): number {
  const zero = block.indexOf(0, start);
  return zero === -1 ? block.length : zero;
}
