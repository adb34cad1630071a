import { mkdir, rmdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { diskMountPoint } from "../containerd/ownership.ts";
import { blockDeviceIdentity } from "../host/block-devices.ts";
import type { DeviceNumber } from "../host/device-number.ts";
import type { DiskSource } from "../host/disk-source.ts";
import { addMountUser, removeMountUser } from "../host/mount-users.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";

/** What the mount and the folders above it are closed to: everyone but root. Trees hold setuid programs. */
const folderMode = 0o700;

/** The record of a disk that is about to be injected. `leftBehind` of an earlier one is kept. */
export async function recordOf(source: DiskSource, before: DiskRecord | undefined): Promise<DiskRecord> {
  const identity = source.kind === "file" ? undefined : await blockDeviceIdentity(source.path);
  return {
    formatVersion: "1",
    id: source.id,
    line: source.line,
    sequence: source.sequence,
    source: resolve(source.path),
    ...(identity !== undefined && { identity }),
    leftBehind: before?.leftBehind ?? [],
  };
}

/** Mounts the disk where the daemon sees it; nothing is done when it is there already. Throws `HostError`. */
export async function mountForDaemon(node: DockerNode, source: DiskSource): Promise<void> {
  const target = diskMountPoint(source.id);
  const local = node.local(target);
  await mkdir(dirname(local), { recursive: true, mode: folderMode });
  await mkdir(local, { recursive: true, mode: folderMode });
  await addMountUser(node.local, source.id, userOf(node));
  await node.mounts.mountDisk(source, target);
}

export type UnmountedDisk = {
  /** Undefined when it was not mounted. */
  readonly device: DeviceNumber | undefined;
  /** Runtimes for whose sake the mount stays. */
  readonly others: readonly string[];
};

/** Removes the mount, unless another runtime needs it. Throws `HostError` `busy`, which names who has files of it open. */
export async function unmountForDaemon(node: DockerNode, diskID: string): Promise<UnmountedDisk> {
  const target = diskMountPoint(diskID);
  const table = await node.mounts.table();
  const device = table.at(target)?.device;
  const others = await removeMountUser(node.local, diskID, userOf(node));
  if (device === undefined) return { device, others: [] };
  // Such as a carrier of containerd.
  const elsewhere = table.ofDevice(device).filter(({ mountPoint }) => mountPoint !== target);
  others.push(...elsewhere.map(({ mountPoint }) => `the mount ${mountPoint}`));
  if (others.length > 0) return { device, others };
  try {
    await node.mounts.unmount(target);
  } catch (error) {
    await addMountUser(node.local, diskID, userOf(node));
    throw error;
  }
  await rmdir(node.local(target)).catch(() => {});
  return { device, others: [] };
}

export async function isMounted(node: DockerNode, diskID: string): Promise<boolean> {
  return (await node.mounts.table()).at(diskMountPoint(diskID))?.type === "erofs";
}

function userOf({ dataRoot }: DockerNode): string {
  return `Docker with the data root ${dataRoot}`;
}
