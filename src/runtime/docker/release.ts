import { readFile, realpath, stat } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceNumber, formatDeviceNumber } from "../host/device-number.ts";
import { findDeviceHolders } from "../host/holders.ts";
import { isDeviceInUse, loopBackingFile } from "../host/loop-device.ts";
import { errorCode } from "../host/system-calls.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { stillLeftBehind, usersOf } from "./left-behind.ts";

/** Whether a device is free, and who holds it if not. */
export type Release = { readonly isReleased: boolean; readonly heldBy: readonly User[] };

/** The kernel ends mounts a moment after they are out of sight. */
const releaseMs = 1000;
const pollMs = 20;

/** Changes with each start of the machine; devices have other numbers then (kernel: drivers/char/random.c). */
export async function readBootID(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
}

/** The device of a disk that is not mounted for the daemon any more. `others`: who is known to need its mount. */
export async function readRelease(
  node: DockerNode,
  record: DiskRecord,
  device: DeviceNumber | undefined,
  others: readonly User[],
  signal: AbortSignal,
): Promise<Release> {
  if (device === undefined) return { isReleased: others.length === 0, heldBy: others };
  for (const end = Date.now() + releaseMs; ; await sleep(pollMs, undefined, { signal })) {
    if (!(await isHeld(record, device))) return { isReleased: true, heldBy: [] };
    const containers = usersOf(await stillLeftBehind(node, record, signal));
    // Who is known to hold it keeps it for longer.
    if (containers.length === 0 && others.length === 0 && Date.now() < end) continue;
    const holders = await findDeviceHolders(device);
    const processes = holders.map(({ pid, name, mountPoints }): User => {
      return { kind: "process", name: `${pid} (${name}), mounted on ${mountPoints.join(", ")}` };
    });
    return { isReleased: false, heldBy: [...containers, ...others, ...processes] };
  }
}

/** A loop device that is free may be another disk's by now. */
async function isHeld({ source }: DiskRecord, device: DeviceNumber): Promise<boolean> {
  const folder = await realpath(`/sys/dev/block/${formatDeviceNumber(device)}`).catch(() => undefined);
  if (folder === undefined) return false;
  const path = `/dev/${basename(folder).replaceAll("!", "/")}`;
  const isLoop = path.startsWith("/dev/loop");
  try {
    const backing = isLoop ? await loopBackingFile(path) : undefined;
    if (isLoop && backing === undefined) return false;
    const stats = backing && (await stat(source, { bigint: true }).catch(() => undefined));
    if (stats !== undefined && (stats.dev !== backing?.dev || stats.ino !== backing.ino)) return false;
    return await isDeviceInUse(path);
  } catch (error) {
    // Detached since.
    if (["ENOENT", "ENXIO", "ENODEV"].includes(errorCode(error) ?? "")) return false;
    throw error;
  }
}
