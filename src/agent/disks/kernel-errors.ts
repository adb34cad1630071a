import { closeSync, constants, openSync, readSync } from "node:fs";
import { callHere, errorCode } from "../../runtime/host/system-calls.ts";

/** A record of `/dev/kmsg` is at most so long (Linux kernel/printk: `PRINTKRB_RECORD_MAX`, and its keys). */
const recordBytes = 8192;

/** More than this at once is a flood, and says nothing new. */
const maxRecords = 2000;

/** `SEEK_END`: after the last record (Linux Documentation/ABI/testing/dev-kmsg). */
const seekEnd = 2;

/**
 * How the kernel names a device in what it says of failures: the block layer (block/blk-mq.c, fs/buffer.c), ext4 (fs/ext4/super.c), XFS
 * (fs/xfs/xfs_message.c) and EROFS (fs/erofs/super.c).
 */
const failures: readonly RegExp[] = [
  /\berror, dev ([^\s,]+), sector \d/,
  /\bI\/O error on dev(?:ice)? ([^\s,]+)[, ]/,
  /^EXT4-fs error \(device ([^)\s]+)\)/,
  /^EXT4-fs \(([^)\s]+)\): (?:Remounting filesystem read-only|failed to convert|shut down)/,
  /^XFS \(([^)\s]+)\): .*(?:I\/O error|[Cc]orruption|[Ss]hutting down)/,
  /^erofs:? \(device ([^)\s]+)\): .*(?:error|fail|corrupt|bogus|err )/,
];

/** The device that a record of the kernel's log says has failed; `undefined` for all other records, also those of programs. */
export function failedDevice(record: string): string | undefined {
  const [head = "", text = ""] = [record.slice(0, record.indexOf(";")), record.slice(record.indexOf(";") + 1)];
  // The facility is in the bits above the level; that of the kernel is 0 (syslog(2)).
  if (Number.parseInt(head, 10) >> 3 !== 0) return undefined;
  const [line = ""] = text.split("\n", 1);
  for (const failure of failures) {
    const name = failure.exec(line)?.[1];
    if (name !== undefined) return name;
  }
  return undefined;
}

/** What the kernel's log says of failing devices, from when it was opened on. */
export class KernelErrors {
  readonly #path: string;
  readonly #buffer = Buffer.alloc(recordBytes);
  #fd: number | undefined;
  #isClosed = false;

  constructor(path = "/dev/kmsg") {
    this.#path = path;
    this.#open();
  }

  /** Names of devices that failed since the last call, as in `/sys/class/block`. Empty where the log cannot be read. */
  read(): ReadonlySet<string> {
    const devices = new Set<string>();
    if (this.#fd === undefined) this.#open();
    for (let i = 0; i < maxRecords && this.#fd !== undefined; i++) {
      const record = this.#next(this.#fd);
      if (record === undefined) break;
      const device = failedDevice(record);
      if (device !== undefined) devices.add(device);
    }
    return devices;
  }

  close(): void {
    this.#isClosed = true;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): void {
    if (this.#isClosed) return;
    let fd: number | undefined;
    try {
      fd = openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
      callHere("lseek", fd, 0n, seekEnd);
      this.#fd = fd;
    } catch {
      // Forbidden in some containers: then only what the disks themselves say counts, and not what the log says of before.
      if (fd !== undefined) closeSync(fd);
    }
  }

  /** One record; empty for one that was overwritten before it was read, and `undefined` after the last. */
  #next(fd: number): string | undefined {
    try {
      const bytes = readSync(fd, this.#buffer, 0, recordBytes, null);
      return bytes === 0 ? undefined : this.#buffer.toString("latin1", 0, bytes);
    } catch (error) {
      return errorCode(error) === "EPIPE" ? "" : undefined;
    }
  }
}
