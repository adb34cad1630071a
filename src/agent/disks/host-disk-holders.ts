import { stat } from "node:fs/promises";
import { decodeDeviceNumber } from "../../runtime/host/device-number.ts";
import { findMountUsers } from "../../runtime/host/device-release.ts";
import { lockDisk } from "../../runtime/host/disk-lock.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { findLoopDevice, isDeviceInUse } from "../../runtime/host/loop-device.ts";
import type { User } from "../../runtime/runtime.ts";
import type { DiskHolders } from "./disk-holders.ts";

/** Somebody mounts it; it is asked about again later. */
const lockMs = 5000;

/** Asks the kernel: mounts of all processes, and the device itself, which also overlays hold that do not name it. Needs root. */
export class HostDiskHolders implements DiskHolders {
  async find(path: string, id: string): Promise<readonly User[]> {
    // The device is opened alone for a moment, and whoever mounts it then fails.
    await using _ = await lockDisk((local) => local, id, AbortSignal.timeout(lockMs));
    const device = await deviceOf(path);
    if (device === undefined || !(await isDeviceInUse(device))) return [];
    const { rdev } = await stat(device, { bigint: true });
    const users = await findMountUsers(decodeDeviceNumber(rdev));
    return users.length > 0 ? users : [{ kind: "process", name: `one that has ${device} in use` }];
  }
}

/** The block device itself, or the loop device of a file; `undefined` for a file that has none. */
async function deviceOf(path: string): Promise<string | undefined> {
  const file = await stat(path, { bigint: true });
  if (file.isBlockDevice()) return path;
  const { sizeBytes } = await readDiskSource(path);
  const loop = await findLoopDevice(file, sizeBytes);
  await loop?.close();
  return loop?.path;
}
