import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { decodeDeviceNumber, formatDeviceNumber } from "../../runtime/host/device-number.ts";

/** Devices stand on one another: a volume on a partition on a disk. No real stack is as high as this. */
const maxDepth = 8;

/**
 * Names of all block devices that the bytes of a disk come from, as in `/sys/class/block`: of a device itself and what it stands on, of a file
 * those of its file system, and the loop devices that show it. Empty where sysfs does not tell. Throws what `stat(2)` gives.
 */
export async function devicesBelow(path: string): Promise<ReadonlySet<string>> {
  const stats = await stat(path, { bigint: true });
  const names = new Set<string>();
  const number = stats.isBlockDevice() ? stats.rdev : stats.dev;
  await addBelow(names, `/sys/dev/block/${formatDeviceNumber(decodeDeviceNumber(number))}`, maxDepth);
  // The kernel tells the file's own path, without links.
  if (!stats.isBlockDevice()) for (const loop of await loopsOver(await realpath(path))) names.add(loop);
  return names;
}

async function addBelow(names: Set<string>, link: string, depth: number): Promise<void> {
  const folder = await realpath(link).catch(() => undefined);
  if (folder === undefined || depth === 0) return;
  names.add(basename(folder));
  // The folder of a partition lies in that of its disk.
  const isPartition = await readFile(`${folder}/partition`).then(
    () => true,
    () => false,
  );
  if (isPartition) await addBelow(names, dirname(folder), depth - 1);
  for (const below of await readdir(`${folder}/slaves`).catch(() => []))
    await addBelow(names, `${folder}/slaves/${below}`, depth - 1);
}

async function loopsOver(path: string): Promise<string[]> {
  const names = (await readdir("/sys/block").catch(() => [])).filter((name) => name.startsWith("loop"));
  const shown = await Promise.all(
    names.map((name) => readFile(`/sys/block/${name}/loop/backing_file`, "utf8").catch(() => "")),
  );
  return names.filter((_, i) => shown[i]?.replace(/\n$/, "") === path);
}
