import { access, open, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { superblock } from "../../filesystem/erofs/constants.ts";
import { type DeviceNumber, decodeDeviceNumber, formatDeviceNumber } from "./device-number.ts";

/** A block device of the machine, as sysfs has it. */
export type BlockDevice = {
  /** Where udev or devtmpfs puts it: `/dev/sda`, `/dev/mapper` names not. */
  readonly path: string;
  /** Changes when the name comes to stand for other bytes; the sequence number is of Linux 5.15 and later. */
  readonly state: string;
};

/** All block devices and partitions that have a size, by name. Empty without sysfs. */
export async function listBlockDevices(): Promise<BlockDevice[]> {
  const names = await readdir("/sys/class/block").catch(() => []);
  const devices = await Promise.all(
    names.sort().map(async (name): Promise<BlockDevice[]> => {
      const folder = `/sys/class/block/${name}`;
      const [size, sequence] = await Promise.all([attribute(folder, "size"), attribute(folder, "diskseq")]);
      if (size === undefined || size === "0") return [];
      // The kernel writes `!` for the `/` in names such as cciss/c0d0.
      return [{ path: `/dev/${name.replaceAll("!", "/")}`, state: `${size} ${sequence ?? ""}` }];
    }),
  );
  return devices.flat();
}

/**
 * Whether the block device of a mounted file system was detached: what the kernel remembers of it can be read for a while, and nothing else.
 * File systems without a device (major number 0) are never gone.
 */
export async function isDeviceGone(device: DeviceNumber): Promise<boolean> {
  if (device.major === 0 || (await isThere(`/sys/dev/block/${formatDeviceNumber(device)}`))) return false;
  return isThere("/sys/dev/block");
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * What the hardware, or the hypervisor, says a block device is: its WWN or serial number, with the number of the partition. Other than its
 * contents, nobody who may write to a device can choose it. `undefined` where there is none (loop devices) or `path` is no block device.
 */
export async function blockDeviceIdentity(path: string): Promise<string | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined || !stats.isBlockDevice()) return undefined;
  const { major, minor } = decodeDeviceNumber(stats.rdev);
  const folder = await realpath(`/sys/dev/block/${major}:${minor}`).catch(() => undefined);
  if (folder === undefined) return undefined;
  const partition = await attribute(folder, "partition");
  const whole = partition === undefined ? folder : dirname(folder);
  // NVMe (wwid), SCSI (device/wwid), device mapper (dm/uuid), virtio (serial), NVMe and MMC without a WWN (device/serial).
  for (const name of ["wwid", "device/wwid", "dm/uuid", "serial", "device/serial"]) {
    const value = await attribute(whole, name);
    if (value) return `${basename(name)}:${value}${partition === undefined ? "" : `:${partition}`}`;
  }
  return undefined;
}

/**
 * The serial numbers and WWNs that the hardware, or the hypervisor, gives a block device; of a partition those of its disk with `-partN`
 * behind, as udev writes them. Empty where there is none.
 */
export async function blockDeviceSerials(device: DeviceNumber): Promise<string[]> {
  const folder = await realpath(`/sys/dev/block/${formatDeviceNumber(device)}`).catch(() => undefined);
  if (folder === undefined) return [];
  const partition = await attribute(folder, "partition");
  const whole = partition === undefined ? folder : dirname(folder);
  const names = ["serial", "device/serial", "wwid", "device/wwid"];
  const values = await Promise.all([...names.map((name) => attribute(whole, name)), unitSerial(whole)]);
  const suffix = partition === undefined ? "" : `-part${partition}`;
  return [...new Set(values.filter((value) => value !== undefined && value !== ""))].map((value) => value + suffix);
}

/** Of SCSI and SATA: the page "unit serial number", four bytes and then the text (SPC-4, 7.8.15). */
async function unitSerial(folder: string): Promise<string | undefined> {
  const page = await readFile(join(folder, "device/vpd_pg80")).catch(() => undefined);
  return page?.subarray(4).toString("latin1").replaceAll("\0", "").trim();
}

/**
 * UUID of the EROFS file system at the beginning of a file or block device, as 32 hex digits: for a cache disk the first half of its id.
 * `undefined` for anything else. Throws what `open(2)` and `read(2)` give.
 */
export async function readErofsUuid(path: string): Promise<string | undefined> {
  const handle = await open(path, "r");
  try {
    const bytes = Buffer.alloc(superblock.bytes);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, superblock.position);
    if (bytesRead < bytes.length || bytes.readUInt32LE(superblock.magic) !== superblock.magicNumber) return undefined;
    return bytes.toString("hex", superblock.uuid, superblock.uuid + 16);
  } finally {
    await handle.close();
  }
}

async function attribute(folder: string, name: string): Promise<string | undefined> {
  const text = await readFile(join(folder, name), "utf8").catch(() => undefined);
  return text?.trim();
}
