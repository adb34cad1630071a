import { readFile, readlink, rmdir, stat } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceNumber, decodeDeviceNumber, formatDeviceNumber } from "../../host/device-number.ts";
import { lockDisk } from "../../host/disk-lock.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { findDeviceHolders } from "../../host/holders.ts";
import { HostError } from "../../host/host-error.ts";
import { findLoopDevice, isDeviceInUse, loopBackingFile } from "../../host/loop-device.ts";
import type { MountTable } from "../../host/mount-table.ts";
import { mountUsers } from "../../host/mount-users.ts";
import { findPathUsers } from "../../host/path-users.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { User } from "../../runtime.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { fsPath, type OwnedSnapshot } from "../owned-state.ts";
import { carrierFileName } from "../ownership.ts";
import { readBlobLinks, removeOrphanLinks } from "./blob-links.ts";
import { snapshotsThrough } from "./places.ts";

/** A block device, and the file behind it where it is a loop device: numbers of those are used again. */
type Device = { readonly path: string; readonly number: DeviceNumber; readonly file: string | undefined };

/** What is left to be asked of a disk whose mounts are gone. */
export type UnmountedDisk = {
  /** `undefined` when nothing was mounted, and the device is not known. */
  readonly device: Device | undefined;
  /** Known to hold it: processes in its folders, other runtimes. */
  readonly holders: readonly User[];
};

/** The kernel ends mounts a moment after they are out of sight. */
const releaseMs = 1000;
const pollMs = 20;

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
  const device = mounted && (await deviceOf(mounted.device));
  const holders: User[] = [];
  if (carrierFs !== undefined) {
    holders.push(...(await processesBelow(node, table, carrierFs)));
    atStep("unmount-carrier");
    await unmount(node, carrierFs);
  }
  const others = await otherUsers(node, table, disk, carrierFs);
  if (others.length > 0) return { device, holders: [...holders, ...others] };
  holders.push(...(await processesBelow(node, table, mountPoint)));
  atStep("unmount-disk");
  await unmount(node, mountPoint);
  await removeFolder(node.local(mountPoint));
  return { device: device ?? (await deviceOfSource(node, carrierFs)), holders };
}

/** Whether a device is free, and who holds it otherwise. `containers`: those that may still run on trees of the disk. */
export async function whoHolds(
  node: ContainerdNode,
  { device, holders }: UnmountedDisk,
  containers: readonly User[],
): Promise<{ isReleased: boolean; heldBy: readonly User[] }> {
  if (device === undefined) return { isReleased: holders.length === 0, heldBy: holders };
  for (const end = Date.now() + releaseMs; ; await sleep(pollMs)) {
    if (!(await isHeld(device))) return { isReleased: true, heldBy: [] };
    const heldBy = [...holders, ...(await findHolders(node, device, containers))];
    const distinct = new Map(heldBy.map((user) => [`${user.kind} ${user.name}`, user]));
    if (distinct.size > 0 || Date.now() > end) return { isReleased: false, heldBy: [...distinct.values()] };
  }
}

async function findHolders(node: ContainerdNode, device: Device, containers: readonly User[]): Promise<User[]> {
  const found: User[] = [];
  for (const { pid, name, containerId, isOwn, mountPoints } of await findDeviceHolders(device.number)) {
    if (containerId !== undefined) found.push({ kind: "container", name: containerId });
    else found.push({ kind: "process", name: isOwn ? `mounted on ${mountPoints.join(", ")}` : `${pid} (${name})` });
  }
  // An overlay holds its lower folders without naming their device.
  const { entries } = await node.mounts.table();
  const roots = entries.filter(({ type }) => type === "overlay").map(({ mountPoint }) => mountPoint.split("/"));
  for (const container of containers) if (roots.some((parts) => parts.includes(container.name))) found.push(container);
  return found;
}

async function refuseWhileLinked(node: ContainerdNode, disk: string, carrier: OwnedSnapshot): Promise<void> {
  const numbers = await snapshotsThrough(node, carrier);
  if (numbers.length === 0) return;
  throw new RuntimeError(
    "failed-precondition",
    `disk ${disk} stays mounted: ${numbers.length} snapshots of ${node.snapshotsFolder} (${numbers.slice(0, 5).join(", ")}) lead to it, though containerd does not know them as Nodewarm's; remove them first`,
  );
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
  const device = table.at(diskMountPoint(disk))?.device;
  const carriers = device === undefined ? [] : table.ofDevice(device).map(({ mountPoint }) => mountPoint);
  const others = carriers.filter((path) => path !== ownFs && /\/snapshots\/\d+\/fs$/.test(path));
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

async function deviceOf(number: DeviceNumber): Promise<Device> {
  // Its folder in sysfs has the name of the device, with `!` for each slash; a device that is gone has none.
  const folder = await readlink(`/sys/dev/block/${formatDeviceNumber(number)}`).catch(() => "gone");
  const path = `/dev/${basename(folder).replaceAll("!", "/")}`;
  return { path, number, file: await backingFile(path) };
}

/** Where nothing was mounted: the device that the carrier's own file names, if it is attached. */
async function deviceOfSource(node: ContainerdNode, carrierFs: string | undefined): Promise<Device | undefined> {
  if (carrierFs === undefined) return undefined;
  const text = await readFile(`${node.local(carrierFs)}/${carrierFileName}`, "utf8").catch(() => "{}");
  const { source }: { source?: string } = JSON.parse(text);
  if (source === undefined) return undefined;
  const stats = await stat(source, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return undefined;
  if (stats.isBlockDevice()) return deviceOf(decodeDeviceNumber(stats.rdev));
  const loop = await findLoopDevice(stats, 0);
  if (loop === undefined) return undefined;
  const { path, device } = loop;
  const file = await backingFile(path);
  await loop.close();
  return { path, number: device, file };
}

async function isHeld({ path, file }: Device): Promise<boolean> {
  if (file !== undefined && (await backingFile(path)) !== file) return false;
  try {
    return await isDeviceInUse(path);
  } catch (error) {
    // Detached since.
    if (["ENOENT", "ENXIO", "ENODEV"].includes(errorCode(error) ?? "")) return false;
    throw error;
  }
}

/** The file behind a loop device; `undefined` for other devices, and for one that is free. */
async function backingFile(path: string): Promise<string | undefined> {
  if (!/^\/dev\/loop\d+$/.test(path)) return undefined;
  const file = await loopBackingFile(path).catch(() => undefined);
  return file && `${file.dev}:${file.ino}`;
}
