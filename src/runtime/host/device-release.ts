import { readlink } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { User } from "../runtime.ts";
import { isDeviceGone } from "./block-devices.ts";
import { type DeviceNumber, formatDeviceNumber } from "./device-number.ts";
import { findDevicesOfDisk } from "./device-of-disk.ts";
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

/** A disk whose mounts are gone. */
export type UnmountedDisk = {
  readonly id: string;
  /** What it was mounted from; `undefined` where nothing says that any more. */
  readonly device: DiskDevice | undefined;
  /** Who was seen to need it. */
  readonly users: readonly User[];
};

/** How it is looked at. */
export type ReleaseQuestion = {
  /** Who holds it beside those that were seen and the mounts, such as overlays, which do not name the device of their lower folders. */
  readonly known: () => Promise<readonly User[]>;
  /** `lockDisk` of the disk: its device is opened alone for a moment, and whoever mounts it then fails. */
  readonly lock: () => Promise<AsyncDisposable>;
  readonly signal?: AbortSignal;
};

/**
 * Waits a moment until the device of a disk is free; one that is not known is looked for. What could not be looked at is not said to be
 * released. Throws the reason of the signal, and what `lock` throws.
 */
export async function readRelease(
  { id, device, users }: UnmountedDisk,
  { known, ...rest }: ReleaseQuestion,
): Promise<Release> {
  const question = { ...rest, known: async () => [...users, ...(await known())] };
  if (device !== undefined) return releaseOf(device, question);
  const { devices, unreadable } = await findDevicesOfDisk(id);
  const held: User[] = unreadable.map((path) => ({ kind: "process", name: `${path}, which cannot be read` }));
  if (devices.length === 0) held.push(...users);
  for (const number of devices) {
    const { isReleased, heldBy } = await releaseOf(await diskDevice(number), question);
    if (!isReleased) held.push(...(heldBy.length > 0 ? heldBy : [someone(number)]));
  }
  return { isReleased: held.length === 0, heldBy: distinct(held) };
}

function someone(number: DeviceNumber): User {
  return { kind: "process", name: `one that has the device ${formatDeviceNumber(number)} in use` };
}

async function releaseOf(device: DiskDevice, { known, lock, signal }: ReleaseQuestion): Promise<Release> {
  for (const end = Date.now() + releaseMs; ; await sleep(pollMs, undefined, { signal })) {
    if (!(await isHeld(device, lock))) return { isReleased: true, heldBy: [] };
    const isLate = Date.now() > end;
    const seen = [...(await known()), ...(await findMountUsers(device.number))];
    // Asking each process for its files takes seconds on a full node, and most devices are free in a moment.
    const heldBy = distinct(seen.length === 0 && isLate ? await processesOn(device.number) : seen);
    if (heldBy.length > 0 || isLate) return { isReleased: false, heldBy };
  }
}

function distinct(users: readonly User[]): User[] {
  return [...new Map(users.map((user) => [`${user.kind} ${user.name}`, user])).values()];
}

/** Those in whose mount namespaces a device is mounted, each once. */
export async function findMountUsers(number: DeviceNumber): Promise<User[]> {
  const holders = await findDeviceHolders(number);
  return distinct(
    holders.map(({ pid, name, containerId, isOwn, mountPoints }) => {
      if (containerId !== undefined) return { kind: "container", name: containerId };
      return { kind: "process", name: isOwn ? `mounted on ${mountPoints.join(", ")}` : `${pid} (${name})` };
    }),
  );
}

async function processesOn(number: DeviceNumber): Promise<User[]> {
  const users = await findDeviceUsers(number);
  return users.map(({ pid, name, containerId }) =>
    containerId === undefined
      ? { kind: "process", name: `${pid} (${name})` }
      : { kind: "container", name: containerId },
  );
}

async function isHeld({ number, file }: DiskDevice, lock: ReleaseQuestion["lock"]): Promise<boolean> {
  await using _ = await lock();
  const path = await devicePath(number);
  if (file !== undefined && (await backingFile(path)) !== file) return false;
  try {
    return await isDeviceInUse(path);
  } catch (error) {
    const code = errorCode(error) ?? "";
    // Detached since.
    if (code === "ENXIO" || code === "ENODEV") return false;
    // Or there is no name for it here, as in a container without the host's /dev.
    if (code === "ENOENT") return !(await isDeviceGone(number));
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
