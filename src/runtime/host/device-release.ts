import { readlink } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { User } from "../runtime.ts";
import { type DeviceNumber, formatDeviceNumber } from "./device-number.ts";
import { findDeviceUsers } from "./device-users.ts";
import { findDeviceHolders } from "./holders.ts";
import { isDeviceInUse, loopBackingFile } from "./loop-device.ts";
import { errorCode } from "./system-calls.ts";

/** A block device that a disk was mounted from. */
export type DiskDevice = {
  readonly number: DeviceNumber;
  /** Behind a loop device: numbers of those are used again, and it is another disk's then. */
  readonly file: string | undefined;
};

/** Whether a device is free, and who holds it if not. */
export type Release = { readonly isReleased: boolean; readonly heldBy: readonly User[] };

/** The kernel ends mounts a moment after they are out of sight. */
const releaseMs = 1000;
const pollMs = 20;

/** While it is mounted: later a loop device does not say any more which file it had. */
export async function diskDevice(number: DeviceNumber): Promise<DiskDevice> {
  return { number, file: await backingFile(await devicePath(number)) };
}

/**
 * Waits a moment until a device whose mounts are gone is free. `known`: who holds it beside the mounts that can be seen, such as overlays, which
 * do not name the device of their lower folders. Throws the reason of `signal`.
 */
export async function readRelease(
  device: DiskDevice,
  known: () => Promise<readonly User[]>,
  signal?: AbortSignal,
): Promise<Release> {
  for (const end = Date.now() + releaseMs; ; await sleep(pollMs, undefined, { signal })) {
    if (!(await isHeld(device))) return { isReleased: true, heldBy: [] };
    const seen = [...(await known()), ...(await mountUsers(device.number))];
    const users = seen.length > 0 ? seen : await processesOn(device.number);
    const heldBy = [...new Map(users.map((user) => [`${user.kind} ${user.name}`, user])).values()];
    if (heldBy.length > 0 || Date.now() > end) return { isReleased: false, heldBy };
  }
}

async function mountUsers(number: DeviceNumber): Promise<User[]> {
  const holders = await findDeviceHolders(number);
  return holders.map(({ pid, name, containerId, isOwn, mountPoints }) => {
    if (containerId !== undefined) return { kind: "container", name: containerId };
    return { kind: "process", name: isOwn ? `mounted on ${mountPoints.join(", ")}` : `${pid} (${name})` };
  });
}

async function processesOn(number: DeviceNumber): Promise<User[]> {
  const users = await findDeviceUsers(number);
  return users.map(({ pid, name, containerId }) =>
    containerId === undefined
      ? { kind: "process", name: `${pid} (${name})` }
      : { kind: "container", name: containerId },
  );
}

async function isHeld({ number, file }: DiskDevice): Promise<boolean> {
  const path = await devicePath(number);
  if (file !== undefined && (await backingFile(path)) !== file) return false;
  try {
    return await isDeviceInUse(path);
  } catch (error) {
    // Detached since.
    if (["ENOENT", "ENXIO", "ENODEV"].includes(errorCode(error) ?? "")) return false;
    throw error;
  }
}

/** By its folder in sysfs, which has the name of the device, with `!` for each slash; a device that is gone has none. */
async function devicePath(number: DeviceNumber): Promise<string> {
  const folder = await readlink(`/sys/dev/block/${formatDeviceNumber(number)}`).catch(() => "gone");
  return `/dev/${basename(folder).replaceAll("!", "/")}`;
}

/** `undefined` for other devices, and for one that is free. */
async function backingFile(path: string): Promise<string | undefined> {
  if (!/^\/dev\/loop\d+$/.test(path)) return undefined;
  const file = await loopBackingFile(path).catch(() => undefined);
  return file && `${file.dev}:${file.ino}`;
}
