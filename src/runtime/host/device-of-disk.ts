import { readdir, readFile } from "node:fs/promises";
import { readErofsUuid } from "./block-devices.ts";
import type { DeviceNumber } from "./device-number.ts";
import { errorCode } from "./system-calls.ts";

/** A device that does not answer must not hold up an ejection. */
const answerMs = 5000;

const devicesFolder = "/sys/class/block";

/** What opening a device says that holds nothing, or was detached just now. */
const emptyCodes: ReadonlySet<string> = new Set(["ENOMEDIUM", "ENXIO", "ENODEV"]);

export type DevicesOfDisk = {
  readonly devices: readonly DeviceNumber[];
  /** Paths of what may show it, and cannot be read. */
  readonly unreadable: readonly string[];
};

/**
 * The block devices that show a disk, where nothing says any more from which it was mounted. The kernel lists those that an EROFS is mounted
 * from in `/sys/fs/erofs`, also when the mount is out of sight (fs/erofs/sysfs.c, Linux 5.17); without that list all devices are looked at.
 * Throws nothing.
 */
export async function findDevicesOfDisk(id: string): Promise<DevicesOfDisk> {
  const mounted = await readdir("/sys/fs/erofs").catch(() => undefined);
  const names = mounted ?? (await readdir(devicesFolder).catch(() => undefined));
  if (names === undefined) return { devices: [], unreadable: [devicesFolder] };
  const devices: DeviceNumber[] = [];
  const unreadable: string[] = [];
  for (const name of names) {
    // Not of what is no device, or is gone.
    const text = await readFile(`${devicesFolder}/${name}/dev`, "utf8").catch(() => "");
    const [, major, minor] = /^(\d+):(\d+)\n$/.exec(text) ?? [];
    if (major === undefined || minor === undefined) continue;
    // As in `listBlockDevices`.
    const path = `/dev/${name.replaceAll("!", "/")}`;
    const uuid = await answerOf(path);
    if (uuid === "unreadable") unreadable.push(path);
    else if (uuid === id.slice(0, 32)) devices.push({ major: Number(major), minor: Number(minor) });
  }
  return { devices, unreadable };
}

async function answerOf(path: string): Promise<string | undefined> {
  const late = Promise.withResolvers<string>();
  const timer = setTimeout(() => late.resolve("unreadable"), answerMs);
  const uuid = readErofsUuid(path).catch((error: unknown) =>
    emptyCodes.has(errorCode(error) ?? "") ? undefined : "unreadable",
  );
  try {
    return await Promise.race([uuid, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
