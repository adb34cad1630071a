import { mkdir } from "node:fs/promises";
import { sameDevice } from "./device-number.ts";
import { diskMountPoint } from "./disk-mount-point.ts";
import { lockFile } from "./file-lock.ts";
import { HostError } from "./host-error.ts";
import type { Mounts } from "./mounts.ts";

/** Folder of all locks, in the mount namespace of the runtime, as are the mounts that they guard. */
export const lockFolder = "/run/nodewarm/locks";

/**
 * Waits until no other program mounts or unmounts a disk, or binds its mount to a carrier: all namespaces and runtimes share its mount point,
 * and each holds a lock of its own, which is taken before this one. `local`: of the mount namespace of the mounts. Throws the
 * reason of `signal`, or what `open(2)` gives.
 */
export async function lockDisk(
  local: (path: string) => string,
  diskID: string,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const folder = local(lockFolder);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  return lockFile(`${folder}/disk-${diskID}`, signal);
}

/**
 * Under `lockDisk`: shows a mounted disk on the `fs` of a carrier; one from a device that it is not on any more is taken away, and stays with
 * whoever uses it. False when it was there. Throws `HostError`, `not-found` when the disk is not mounted.
 */
export async function bindDisk(mounts: Mounts, diskID: string, fs: string): Promise<boolean> {
  const mountPoint = diskMountPoint(diskID);
  const table = await mounts.table();
  const [disk, shown] = [table.at(mountPoint), table.at(fs)];
  // The folder alone would be shown as an empty disk.
  if (disk === undefined)
    throw new HostError(
      "not-found",
      `nothing is mounted on ${mountPoint}, so it is not shown on ${fs}; mount it again`,
    );
  if (shown !== undefined && sameDevice(shown.device, disk.device)) return false;
  if (shown?.type === "erofs") await mounts.unmount(fs, { detach: true });
  await mounts.bind(mountPoint, fs);
  return true;
}
