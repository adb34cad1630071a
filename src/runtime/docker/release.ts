import { readFile, realpath, stat } from "node:fs/promises";
import { basename } from "node:path";
import { type DeviceNumber, formatDeviceNumber } from "../host/device-number.ts";
import { findDeviceHolders } from "../host/holders.ts";
import { isDeviceInUse, loopBackingFile } from "../host/loop-device.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { stillLeftBehind, usersOf } from "./left-behind.ts";

/** Whether a device is free, and who holds it if not. */
export type Release = { readonly isReleased: boolean; readonly heldBy: readonly User[] };

/** Changes with each start of the machine; devices have other numbers then (kernel: drivers/char/random.c). */
export async function readBootID(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

/** The device of a disk that is not mounted for the daemon any more. `others`: who is known to need its mount. */
export async function readRelease(
  node: DockerNode,
  record: DiskRecord,
  device: DeviceNumber | undefined,
  others: readonly string[],
  signal: AbortSignal,
): Promise<Release> {
  if (device === undefined || !(await isHeld(record, device))) return { isReleased: true, heldBy: [] };
  const containers = usersOf(await stillLeftBehind(node, record, signal));
  const holders = await findDeviceHolders(device);
  const processes = holders.map(({ pid, name, mountPoints }): User => {
    return { kind: "process", name: `${name} (pid ${pid}: ${mountPoints.join(", ")})` };
  });
  const runtimes = others.map((name): User => ({ kind: "process", name }));
  return { isReleased: false, heldBy: [...containers, ...runtimes, ...processes] };
}

/** A loop device that is free may be another disk's by now. */
async function isHeld({ source }: DiskRecord, device: DeviceNumber): Promise<boolean> {
  const folder = await realpath(`/sys/dev/block/${formatDeviceNumber(device)}`).catch(() => undefined);
  if (folder === undefined) return false;
  const path = `/dev/${basename(folder).replaceAll("!", "/")}`;
  if (!(await isDeviceInUse(path))) return false;
  const backing = path.startsWith("/dev/loop") ? await loopBackingFile(path).catch(() => undefined) : undefined;
  if (backing === undefined) return !path.startsWith("/dev/loop");
  const stats = await stat(source, { bigint: true }).catch(() => undefined);
  return stats === undefined || (stats.dev === backing.dev && stats.ino === backing.ino);
}
