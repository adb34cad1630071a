import { direntType } from "../../filesystem/erofs/constants.ts";
import { directoryEntries } from "../../filesystem/erofs/reader/lookup.ts";
import type { DiskReader } from "../reader/disk-reader.ts";

/**
 * The nids of the directories of the tree at `path` that have the given numbers: directories are numbered breadth first,
 * children by name. Numbers of no directory are left out.
 */
export async function nidsOfDirectories(
  disk: DiskReader,
  path: string,
  numbers: readonly number[],
): Promise<ReadonlySet<number>> {
  if (numbers.length === 0) return new Set();
  const wanted = new Set(numbers);
  const found = new Set<number>();
  const queue = [(await disk.lookup(path)).nid];
  for (let d = 0; d < queue.length; d++) {
    if (wanted.has(d)) found.add(queue[d]);
    for await (const entry of directoryEntries(disk.image, await disk.image.inode(queue[d]))) {
      if (entry.type === direntType.directory) queue.push(entry.nid);
    }
  }
  return found;
}
