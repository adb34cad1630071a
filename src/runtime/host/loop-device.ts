import type { BigIntStats } from "node:fs";
import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { type DeviceNumber, decodeDeviceNumber } from "./device-number.ts";
import { HostError } from "./host-error.ts";
import { callHere, errorCode, SystemCallError } from "./system-calls.ts";

/** include/uapi/linux/loop.h; `LOOP_CONFIGURE` is of Linux 5.8. */
const request = { clearFd: 0x4c01, getStatus64: 0x4c05, configure: 0x4c0a, getFree: 0x4c82 } as const;
const loopFlags = { readOnly: 1, autoclear: 4, directIO: 16 } as const;

/** `struct loop_info64`, little-endian on every machine that containers run on. */
const info = {
  bytes: 232,
  device: 0,
  inode: 8,
  offset: 24,
  sizeLimit: 32,
  flags: 52,
  fileName: 56,
  fileNameBytes: 64,
} as const;
/** `struct loop_config`: descriptor, block size, `loop_info64`, 64 reserved bytes. */
const config = { bytes: 8 + info.bytes + 64, descriptor: 0, blockSize: 4, info: 8 } as const;

/** That of the disk's file system: a device with larger sectors than 512 bytes can then be read past the page cache. */
const blockBytes = 4096;

/** Others may take the free device first; with so many tries in vain something else is wrong. */
const maxTries = 100;

/**
 * A loop device held open. It detaches by itself (autoclear) when neither a mount nor a program holds it any more, so nothing
 * is left over when the program is killed.
 */
export type LoopDevice = {
  /** `/dev/loopN`. */
  readonly path: string;
  readonly device: DeviceNumber;
  /** False when it was there before. */
  readonly isNew: boolean;
  /** Ends the hold. May be called twice. */
  close(): Promise<void>;
};

/**
 * The read-only loop device over the first `sizeBytes` (a multiple of 4096) of a file: the one that already is, else a new
 * one, with direct I/O where the file system can. Two programs at once may get two devices. Throws `HostError`, and what
 * `open(2)` of the file gives.
 */
export async function openLoopDevice(path: string, sizeBytes: number): Promise<LoopDevice> {
  const file = await open(path, constants.O_RDONLY);
  try {
    const found = await findLoopDevice(await file.stat({ bigint: true }), sizeBytes);
    return found ?? (await attach(file, path, sizeBytes));
  } finally {
    await file.close();
  }
}

/** The loop device that shows the first `sizeBytes` of a file, if there is one. Needs root. */
export async function findLoopDevice(
  file: Pick<BigIntStats, "dev" | "ino">,
  sizeBytes: number,
): Promise<LoopDevice | undefined> {
  for (const path of await attachedDevices()) {
    // The name may have gone or the device been detached since.
    const handle = await open(path, constants.O_RDONLY).catch(() => undefined);
    if (handle === undefined) continue;
    // Held open, it cannot change to another file behind our back.
    const status = readStatus(handle);
    if (status !== undefined && shows(status, file, sizeBytes)) return opened(handle, path, false);
    await handle.close();
  }
  return undefined;
}

/** The file behind a loop device, even when it has no name any more; undefined when the device is free. */
export async function loopBackingFile(path: string): Promise<{ dev: bigint; ino: bigint } | undefined> {
  const handle = await openDevice(path);
  try {
    const status = readStatus(handle);
    return status && { dev: status.readBigUInt64LE(info.device), ino: status.readBigUInt64LE(info.inode) };
  } finally {
    await handle.close();
  }
}

/**
 * Detaches a loop device that was not made to detach by itself; while something holds it, the kernel does so afterwards.
 * One that is free already is left alone.
 */
export async function detachLoopDevice(path: string): Promise<void> {
  const handle = await openDevice(path);
  try {
    callHere("ioctl", handle.fd, request.clearFd, null);
  } catch (error) {
    if (errorCode(error) !== "ENXIO") throw loopError(error, path);
  } finally {
    await handle.close();
  }
}

/**
 * Whether a mount, in whichever mount namespace, or another driver has a block device. More certain than reading all mount
 * tables: an overlay keeps the mount of its lower directories without naming it.
 */
export async function isDeviceInUse(path: string): Promise<boolean> {
  try {
    // open(2): O_EXCL without O_CREAT fails with EBUSY while the system uses the device.
    const handle = await open(path, constants.O_RDONLY | constants.O_EXCL);
    await handle.close();
    return false;
  } catch (error) {
    if (errorCode(error) === "EBUSY") return true;
    throw error;
  }
}

async function attach(file: FileHandle, name: string, sizeBytes: number): Promise<LoopDevice> {
  const control = await openDevice("/dev/loop-control");
  try {
    for (let tries = 0; tries < maxTries; tries++) {
      const path = `/dev/loop${callHere("ioctl", control.fd, request.getFree, null)}`;
      const device = await openDevice(path);
      try {
        configure(device, file, name, sizeBytes);
        return await opened(device, path, true);
      } catch (error) {
        await device.close();
        if (errorCode(error) !== "EBUSY") throw error;
      }
    }
  } catch (error) {
    throw loopError(error, name);
  } finally {
    await control.close();
  }
  throw new HostError("busy", `${name}: each of ${maxTries} free loop devices was taken by another program; try again`);
}

function configure(device: FileHandle, file: FileHandle, name: string, sizeBytes: number): void {
  const bytes = Buffer.alloc(config.bytes);
  bytes.writeUInt32LE(file.fd, config.descriptor);
  bytes.writeUInt32LE(blockBytes, config.blockSize);
  bytes.writeBigUInt64LE(BigInt(sizeBytes), config.info + info.sizeLimit);
  // What `losetup` lists; cut off like there, with a zero byte at the end.
  bytes.write(name, config.info + info.fileName, info.fileNameBytes - 1);
  const flags = loopFlags.readOnly | loopFlags.autoclear;
  try {
    bytes.writeUInt32LE(flags | loopFlags.directIO, config.info + info.flags);
    callHere("ioctl", device.fd, request.configure, bytes);
  } catch (error) {
    if (errorCode(error) !== "EINVAL") throw error;
    bytes.writeUInt32LE(flags, config.info + info.flags);
    callHere("ioctl", device.fd, request.configure, bytes);
  }
}

async function opened(handle: FileHandle, path: string, isNew: boolean): Promise<LoopDevice> {
  const { rdev } = await handle.stat();
  let open = true;
  return {
    path,
    device: decodeDeviceNumber(rdev),
    isNew,
    async close() {
      if (!open) return;
      open = false;
      await handle.close();
    },
  };
}

/** Devices that have a file, by the folder that only those have in sysfs; lowest number first. */
async function attachedDevices(): Promise<string[]> {
  const names = (await readdir("/sys/block")).filter((name) => /^loop\d+$/.test(name));
  const attached = await Promise.all(
    names.map((name) =>
      readdir(`/sys/block/${name}/loop`).then(
        () => true,
        () => false,
      ),
    ),
  );
  return names
    .filter((_, index) => attached[index])
    .sort((a, b) => Number(a.slice(4)) - Number(b.slice(4)))
    .map((name) => `/dev/${name}`);
}

function readStatus(handle: FileHandle): Buffer | undefined {
  const bytes = Buffer.alloc(info.bytes);
  try {
    callHere("ioctl", handle.fd, request.getStatus64, bytes);
    return bytes;
  } catch (error) {
    // No file is attached.
    if (errorCode(error) === "ENXIO") return undefined;
    throw error;
  }
}

function shows(status: Buffer, { dev, ino }: Pick<BigIntStats, "dev" | "ino">, sizeBytes: number): boolean {
  const sizeLimit = status.readBigUInt64LE(info.sizeLimit);
  return (
    status.readBigUInt64LE(info.device) === dev &&
    status.readBigUInt64LE(info.inode) === ino &&
    status.readBigUInt64LE(info.offset) === 0n &&
    (sizeLimit === 0n || sizeLimit >= BigInt(sizeBytes)) &&
    (status.readUInt32LE(info.flags) & loopFlags.readOnly) !== 0
  );
}

async function openDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, path === "/dev/loop-control" ? constants.O_RDWR : constants.O_RDONLY);
  } catch (cause) {
    const code = errorCode(cause);
    if (code === "EACCES" || code === "EPERM") {
      throw new HostError("permission", `${path}: loop devices need root, and in a container a privileged one`, {
        cause,
      });
    }
    throw new HostError(
      "not-found",
      `${path} cannot be opened (${code}): load the kernel module "loop"; in a container, mount the host's /dev`,
      { cause },
    );
  }
}

function loopError(error: unknown, name: string): unknown {
  if (!(error instanceof SystemCallError)) return error;
  const { code } = error;
  if (code === "EPERM" || code === "EACCES") {
    return new HostError("permission", `${name}: a loop device needs root`, { cause: error });
  }
  if (code === "EINVAL" || code === "ENOTTY") {
    return new HostError(
      "not-supported",
      `${name}: the kernel refuses a loop device over it (${code}); Linux 5.8 or later is needed, and a file system that can map files`,
      { cause: error },
    );
  }
  return new HostError("system", `${name}: no loop device: ${code}`, { cause: error });
}
