import { mkdir, rmdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { indexName } from "../../disk/index-document.ts";
import { type DiskIndex, parseDiskIndex } from "../../disk/reader/disk-index.ts";
import { blockDeviceIdentity } from "../host/block-devices.ts";
import type { DeviceNumber } from "../host/device-number.ts";
import { type DiskDevice, diskDevice } from "../host/device-release.ts";
import { lockDisk } from "../host/disk-lock.ts";
import { diskMountMode, diskMountPoint } from "../host/disk-mount-point.ts";
import type { DiskSource } from "../host/disk-source.ts";
import { readFresh } from "../host/fresh-read.ts";
import { HostError } from "../host/host-error.ts";
import type { MountTable } from "../host/mount-table.ts";
import { addMountUser, mountUsers, removeMountUser } from "../host/mount-users.ts";
import { findPathUsers } from "../host/path-users.ts";
import { detachStaleMount } from "../host/stale-mount.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";

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
export async function mountForDaemon(node: DockerNode, source: DiskSource, signal: AbortSignal): Promise<void> {
  const target = diskMountPoint(source.id);
  await using _ = await lockDisk(node.local, source.id, signal);
  const local = node.local(target);
  await mkdir(dirname(local), { recursive: true, mode: diskMountMode });
  await mkdir(local, { recursive: true, mode: diskMountMode });
  await addMountUser(node.local, source.id, mountUser(node.dataRoot));
  await detachStaleMount(node.mounts, source.id, node.local);
  try {
    await node.mounts.mountDisk(source, target);
  } catch (error) {
    // From another copy of it.
    if (error instanceof HostError && error.code === "occupied" && (await readMountedIndex(node, source.id))) return;
    throw error;
  }
}

/** The index of a disk that is mounted; `undefined` when it is not, or cannot be read. */
export async function readMountedIndex(node: DockerNode, id: string): Promise<DiskIndex | undefined> {
  if (!(await isMounted(node, id))) return undefined;
  const path = node.local(`${diskMountPoint(id)}/${indexName}`);
  try {
    const index = parseDiskIndex(await readFresh(path), path);
    return index.id === id ? index : undefined;
  } catch {
    return undefined;
  }
}

export type UnmountedDisk = {
  /** Undefined when it was not mounted. */
  readonly device: DiskDevice | undefined;
  /** Runtimes for whose sake the mount stays. */
  readonly otherRuntimes: readonly User[];
  /** Processes with files of it open: the mount is out of sight, and ends when they close them. */
  readonly processes: readonly User[];
};

/** Removes the mount, unless another runtime needs it. Throws `HostError`. */
export async function unmountForDaemon(node: DockerNode, diskID: string, signal: AbortSignal): Promise<UnmountedDisk> {
  const target = diskMountPoint(diskID);
  await using _ = await lockDisk(node.local, diskID, signal);
  const table = await node.mounts.table();
  const number = table.at(target)?.device;
  const device = number && (await diskDevice(number));
  const users = await removeMountUser(node.local, diskID, mountUser(node.dataRoot));
  if (number === undefined) return { device, otherRuntimes: [], processes: [] };
  const others = [...users, ...mountsElsewhere(table, number, target)];
  if (others.length > 0) {
    return { device, otherRuntimes: others.map((name) => ({ kind: "process", name })), processes: [] };
  }
  const processes = await findPathUsers(target, node.mountNamespace.processId);
  await node.mounts.unmount(target, { detach: true });
  await rmdir(node.local(target)).catch(() => {});
  return {
    device,
    otherRuntimes: [],
    processes: processes.map(({ pid, name }) => ({ kind: "process", name: `${pid} (${name})` })),
  };
}

/**
 * Takes the mount out of sight, unless another runtime needs it; who runs on it keeps it. The daemon stays among those that need it, for its links lead
 * to whatever is mounted there: others that eject the disk would take it away otherwise. Throws `HostError`.
 */
export async function hideFromDaemon(node: DockerNode, diskID: string, signal: AbortSignal): Promise<void> {
  const target = diskMountPoint(diskID);
  await using _ = await lockDisk(node.local, diskID, signal);
  const table = await node.mounts.table();
  const number = table.at(target)?.device;
  if (number === undefined || mountsElsewhere(table, number, target).length > 0) return;
  const own = mountUser(node.dataRoot);
  if ((await mountUsers(node.local, diskID)).some((user) => user !== own)) return;
  await node.mounts.unmount(target, { detach: true });
  await rmdir(node.local(target)).catch(() => {});
}

/** Such as carriers of containerd. */
function mountsElsewhere(table: MountTable, device: DeviceNumber, target: string): string[] {
  const elsewhere = table.ofDevice(device).filter(({ mountPoint }) => mountPoint !== target);
  return elsewhere.map(({ mountPoint }) => `the mount on ${mountPoint}`);
}

export async function isMounted(node: DockerNode, diskID: string): Promise<boolean> {
  return (await node.mounts.table()).at(diskMountPoint(diskID))?.type === "erofs";
}

/** How a daemon is named among those that need a mount. */
export function mountUser(dataRoot: string): string {
  return `Docker with the data root ${dataRoot}`;
}
