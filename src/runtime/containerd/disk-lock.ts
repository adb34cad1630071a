import { mkdir } from "node:fs/promises";
import { lockFile } from "../host/file-lock.ts";
import { HostError } from "../host/host-error.ts";
import type { Mounts } from "../host/mounts.ts";
import { lockFolder } from "./node-lock.ts";
import { diskMountPoint } from "./ownership.ts";

/**
 * Waits until no other program mounts or unmounts a disk, or binds its mount to a carrier: all namespaces and runtimes share its mount point,
 * and each holds a lock of its own (`lockNode`), which is taken before this one. `local`: of the mount namespace of the mounts. Throws the
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

/** Under `lockDisk`: shows a mounted disk on the `fs` of a carrier. Throws `HostError`, `not-found` when the disk is not mounted. */
export async function bindDisk(mounts: Mounts, diskID: string, fs: string): Promise<void> {
  const mountPoint = diskMountPoint(diskID);
  // The folder alone would be shown as an empty disk.
  if ((await mounts.table()).at(mountPoint) === undefined)
    throw new HostError(
      "not-found",
      `nothing is mounted on ${mountPoint}, so it is not shown on ${fs}; mount it again`,
    );
  await mounts.bind(mountPoint, fs);
}
