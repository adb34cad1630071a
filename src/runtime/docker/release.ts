import { readFile } from "node:fs/promises";
import { findDevicesOfDisk } from "../host/device-of-disk.ts";
import { type DiskDevice, diskDevice, type Release, readRelease } from "../host/device-release.ts";
import { lockDisk } from "../host/disk-lock.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { stillLeftBehind, usersOf } from "./left-behind.ts";

/** Changes with each start of the machine; devices have other numbers then (kernel: drivers/char/random.c). */
export async function readBootID(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

/** A device that shows a disk, where nothing tells from which it was mounted: the runtime was cut off from it. */
export async function shownDevice(id: string): Promise<DiskDevice | undefined> {
  const [number] = (await findDevicesOfDisk(id)).devices;
  return number && diskDevice(number);
}

/** The device of a disk that was ejected since the machine was started and was not free then. */
export async function earlierDevice({ ejected }: DiskRecord): Promise<DiskDevice | undefined> {
  if (ejected === undefined || ejected.boot !== (await readBootID())) return undefined;
  const { major, minor, file } = ejected;
  return { number: { major, minor }, file };
}

/** The device of a disk that is not mounted for the daemon any more. `others`: who is known to need its mount. */
export async function readDiskRelease(
  node: DockerNode,
  record: DiskRecord,
  device: DiskDevice | undefined,
  others: readonly User[],
  signal: AbortSignal,
): Promise<Release> {
  const leftBehind = async () => usersOf(await stillLeftBehind(node, record, signal));
  const { id } = record;
  const lock = () => lockDisk(node.local, id, signal);
  return readRelease({ id, device, users: others }, { known: leftBehind, lock, signal });
}
