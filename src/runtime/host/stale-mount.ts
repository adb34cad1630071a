import { readFile, stat } from "node:fs/promises";
import { indexName } from "../../disk/index-document.ts";
import { type DeviceNumber, formatDeviceNumber } from "./device-number.ts";
import { diskMountPoint } from "./disk-mount-point.ts";
import { readFresh } from "./fresh-read.ts";
import type { MountEntry } from "./mount-table.ts";
import type { Mounts } from "./mounts.ts";

/** The id stands in the second line of the index. */
const headBytes = 256;

/** For a device that is there and answers. */
const answerMs = 5000;

/** What is mounted on the mount point of a disk, if it is a disk. */
export async function diskMountOf(mounts: Mounts, id: string): Promise<MountEntry | undefined> {
  const entry = (await mounts.table()).at(diskMountPoint(id));
  return entry?.type === "erofs" ? entry : undefined;
}

/**
 * Why a mounted disk has to be mounted anew, or `undefined`: its device does not answer any more, as when it was detached (coming back it is
 * another one to the kernel, whatever its name), or it is the file of a loop device that was removed or replaced. `local`: where paths of
 * the mount's namespace are reached.
 */
export async function whyStale(
  { device }: Pick<MountEntry, "device">,
  id: string,
  local: (path: string) => string,
): Promise<"unreadable" | "file-replaced" | undefined> {
  if (!(await answers(local(`${diskMountPoint(id)}/${indexName}`), id))) return "unreadable";
  return (await isFileRemoved(device)) ? "file-replaced" : undefined;
}

/** Takes a stale mount of a disk off its mount point; whoever uses it keeps it. Throws `HostError`. */
export async function detachStaleMount(mounts: Mounts, id: string, local: (path: string) => string): Promise<void> {
  const mounted = await diskMountOf(mounts, id);
  if (mounted !== undefined && (await whyStale(mounted, id, local)) !== undefined)
    await mounts.unmount(diskMountPoint(id), { detach: true });
}

/** Whether the device itself gives the id, and not only what the kernel remembers of it. */
async function answers(indexPath: string, id: string): Promise<boolean> {
  const head = await readFresh(indexPath, headBytes, answerMs).catch(() => undefined);
  return head?.includes(`"id": "${id}"`) ?? false;
}

/** Such a file has no name any more: what lies at its path, if anything, is another one. */
async function isFileRemoved(device: DeviceNumber): Promise<boolean> {
  const attribute = `/sys/dev/block/${formatDeviceNumber(device)}/loop/backing_file`;
  const path = (await readFile(attribute, "utf8").catch(() => "")).replace(/\n$/, "");
  // Written behind the path by the kernel (fs/d_path.c); a file may be called so too.
  if (!path.endsWith(" (deleted)")) return false;
  return stat(path).then(
    () => false,
    () => true,
  );
}
