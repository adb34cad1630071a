import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { mountErofs } from "../../test/support/mount.ts";
import { stream } from "../suite/command.ts";
import type { TreeCounts } from "./targets.ts";

const zero = 0;
const directoryType = "d".charCodeAt(0);

/** Walks the trees of a disk through the kernel and counts them, independently of what the builder says. */
export async function countDiskTrees(disk: string): Promise<TreeCounts> {
  await using scope = new AsyncDisposableStack();
  const mounted = await mountErofs(scope, disk);
  const folders = await readdir(mounted);
  const layers = folders.includes("layers") ? await countEntries(join(mounted, "layers")) : none;
  const merged = folders.includes("images") ? await countEntries(join(mounted, "images")) : none;
  return { layers: sum(layers), mergedDirectories: merged.directories, mergedOthers: merged.others };
}

/** Whole blocks of all layer images of a disk. */
export async function layerImageBlocks(disk: string): Promise<number> {
  await using scope = new AsyncDisposableStack();
  const folder = join(await mountErofs(scope, disk), "erofs");
  let blocks = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) blocks += Math.ceil((await stat(join(entry.parentPath, entry.name))).size / 4096);
  }
  return blocks;
}

type Counted = { readonly directories: Counts; readonly others: Counts };
type Counts = { readonly entries: number; readonly nameBytes: number };

const none: Counted = { directories: { entries: 0, nameBytes: 0 }, others: { entries: 0, nameBytes: 0 } };

async function countEntries(folder: string): Promise<Counted> {
  const entries = [0, 0];
  const nameBytes = [0, 0];
  let position = 0;
  let kind = 0;
  for await (const chunk of stream("find", [folder, "-mindepth", "1", "-printf", "%y%f\\0"], "")) {
    for (const byte of chunk) {
      if (position === 0) {
        kind = byte === directoryType ? 0 : 1;
        entries[kind]++;
        position = 1;
      } else if (byte === zero) position = 0;
      else nameBytes[kind]++;
    }
  }
  const counts = (index: number) => ({ entries: entries[index], nameBytes: nameBytes[index] });
  return { directories: counts(0), others: counts(1) };
}

function sum(counted: Counted): Counts {
  return {
    entries: counted.directories.entries + counted.others.entries,
    nameBytes: counted.directories.nameBytes + counted.others.nameBytes,
  };
}
