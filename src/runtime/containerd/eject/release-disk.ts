import { rmdir } from "node:fs/promises";
import { diskDevice, type Release, readRelease, type UnmountedDisk } from "../../host/device-release.ts";
import { lockDisk } from "../../host/disk-lock.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { HostError } from "../../host/host-error.ts";
import type { MountTable } from "../../host/mount-table.ts";
import { mountUsers } from "../../host/mount-users.ts";
import { findPathUsers } from "../../host/path-users.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { User } from "../../runtime.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { fsPath, type OwnedSnapshot } from "../owned-state.ts";
import { readBlobLinks, removeOrphanLinks } from "./blob-links.ts";
import { snapshotsThrough } from "./places.ts";

/**
 * Ends the mounts of a disk: that on the carrier of this namespace and, when nothing else leads through it, its own. Busy ones are taken out
 * of sight at once and end with their last user. Throws `RuntimeError` `failed-precondition` when a snapshot still leads through the carrier,
 * and `HostError`; nothing is changed then.
 */
export async function unmountDisk(
  node: ContainerdNode,
  disk: string,
  carrier: OwnedSnapshot | undefined,
  signal: AbortSignal,
  atStep: AtStep,
): Promise<UnmountedDisk> {
  await using _ = await lockDisk(node.local, disk, signal);
  const mountPoint = diskMountPoint(disk);
  const carrierFs = carrier && fsPath(node, carrier.number);
  if (carrier !== undefined) await refuseWhileLinked(node, disk, carrier);
  const table = await node.mounts.table();
  const mounted = table.at(mountPoint) ?? (carrierFs === undefined ? undefined : table.at(carrierFs));
  const device = mounted && (await diskDevice(mounted.device));
  const holders: User[] = [];
  if (carrierFs !== undefined) {
    holders.push(...(await processesBelow(node, table, carrierFs)));
    atStep("unmount-carrier");
    await unmount(node, carrierFs);
  }
  const others = await otherUsers(node, table, disk, carrierFs);
  if (others.length > 0) return { id: disk, device, users: [...holders, ...others] };
  holders.push(...(await processesBelow(node, table, mountPoint)));
  atStep("unmount-disk");
  await unmount(node, mountPoint);
  await removeFolder(node.local(mountPoint));
  return { id: disk, device, users: holders };
}

/** Whether the device of a disk is free, and who holds it otherwise. `containers`: those that may still run on trees of the disk. */
export function whoHolds(
  node: ContainerdNode,
  disk: UnmountedDisk,
  containers: readonly User[],
  signal: AbortSignal,
): Promise<Release> {
  const lock = () => lockDisk(node.local, disk.id, signal);
  return readRelease(disk, { known: () => runningOf(node, containers), lock, signal });
}

/** Those that are mounted: an overlay holds its lower folders without naming their device. */
async function runningOf(node: ContainerdNode, containers: readonly User[]): Promise<User[]> {
  const { entries } = await node.mounts.table();
  const roots = entries.filter(({ type }) => type === "overlay").map(({ mountPoint }) => mountPoint.split("/"));
  return containers.filter(({ name }) => roots.some((parts) => parts.includes(name)));
}

async function refuseWhileLinked(node: ContainerdNode, disk: string, carrier: OwnedSnapshot): Promise<void> {
  const numbers = await snapshotsThrough(node, carrier);
  if (numbers.length === 0) return;
  throw new RuntimeError(
    "failed-precondition",
    `disk ${disk} stays mounted: ${numbers.length} snapshots of ${node.snapshotsFolder} (${numbers.slice(0, 5).join(", ")}) lead to it, though containerd does not know them as Nodewarm's; remove them first`,
  );
}

/**
 * Takes the mounts of a disk out of sight, whoever leads through them: that on the carrier of this namespace and, when no other namespace or
 * runtime uses it, its own. Who runs on it keeps it. Throws `HostError`.
 */
export async function hideDisk(
  node: ContainerdNode,
  disk: string,
  carrier: OwnedSnapshot | undefined,
  signal: AbortSignal,
): Promise<void> {
  await using _ = await lockDisk(node.local, disk, signal);
  const mountPoint = diskMountPoint(disk);
  const table = await node.mounts.table();
  const carrierFs = carrier && fsPath(node, carrier.number);
  if (carrierFs !== undefined) await hideMounts(node, carrierFs);
  const runtimes = await mountUsers((path) => node.local(path), disk);
  if (runtimes.length > 0 || otherCarriers(table, disk, carrierFs).length > 0) return;
  await hideMounts(node, mountPoint);
  await removeFolder(node.local(mountPoint));
}

async function hideMounts(node: ContainerdNode, target: string): Promise<void> {
  while (await node.mounts.unmount(target, { detach: true })) {
    // One may lie upon another.
  }
}

/** All that is mounted there: what lies beneath would be emptied with the carrier. */
async function unmount(node: ContainerdNode, target: string): Promise<void> {
  for (let isMounted = true; isMounted; ) {
    try {
      isMounted = await node.mounts.unmount(target);
    } catch (error) {
      if (!(error instanceof HostError) || error.code !== "busy") throw error;
      await node.mounts.unmount(target, { detach: true });
    }
  }
}

/** Other namespaces and runtimes that the same mount serves. */
async function otherUsers(
  node: ContainerdNode,
  table: MountTable,
  disk: string,
  ownFs: string | undefined,
): Promise<User[]> {
  const others = otherCarriers(table, disk, ownFs);
  const links = (await readBlobLinks(node)).filter((link) => link.disk === disk);
  // Where another namespace has a carrier, it may be about to claim them.
  const blobs = others.length > 0 ? links : await removeOrphanLinks(node, links);
  const runtimes = await mountUsers((path) => node.local(path), disk);
  return [
    ...runtimes.map((name): User => ({ kind: "process", name })),
    ...others.map((path): User => ({ kind: "snapshot", name: `${path} (a carrier of another namespace)` })),
    ...blobs.map(({ digest }): User => ({ kind: "image", name: `${digest} (a layer blob of another namespace)` })),
  ];
}

/** Carriers of other namespaces that show the mount of a disk. */
function otherCarriers(table: MountTable, disk: string, ownFs: string | undefined): string[] {
  const device = table.at(diskMountPoint(disk))?.device;
  const carriers = device === undefined ? [] : table.ofDevice(device).map(({ mountPoint }) => mountPoint);
  return carriers.filter((path) => path !== ownFs && /\/snapshots\/\d+\/fs$/.test(path));
}

async function processesBelow(node: ContainerdNode, table: MountTable, path: string): Promise<User[]> {
  if (table.at(path) === undefined) return [];
  const users = await findPathUsers(path, node.mountNamespace.processId);
  return users.map(({ pid, name }) => ({ kind: "process", name: `${pid} (${name})` }));
}

async function removeFolder(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    // Somebody's files are no business of ours.
    if (!["ENOENT", "ENOTEMPTY", "EBUSY"].includes(errorCode(error) ?? "")) throw error;
  }
}
