import type { BigIntStats } from "node:fs";
import { HostError } from "./host-error.ts";
import { call, errorCode } from "./system-calls.ts";

/** What Node has no functions for when a file is copied with all that belongs to it. Paths are bytes, and links are not followed. */

/** include/uapi/linux/limits.h: `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`. */
const xattrMaxBytes = 65_536;

/** include/uapi/linux/fcntl.h: `AT_FDCWD`, `AT_SYMLINK_NOFOLLOW`. */
const atCurrentFolder = -100;
const atNoFollow = 0x100;

/** include/uapi/linux/fs.h: `SEEK_DATA`, `SEEK_HOLE`. */
const seekData = 3;
const seekHole = 4;

/** Numbers of mknodat(2) (asm/unistd_64.h, asm-generic/unistd.h): C libraries before glibc 2.33 have no function for it. */
const mknodatNumber: Readonly<Record<string, number>> = {
  x64: 259,
  arm64: 33,
  riscv64: 33,
  loong64: 33,
  ppc64: 288,
  s390x: 290,
};

/** Gives `to` the extended attributes of `from`, those of `trusted` and `security` too. Throws `SystemCallError`. */
export async function copyXattrs(from: Buffer, to: Buffer): Promise<void> {
  const source = terminated(from);
  const size = await call("llistxattr", source, null, 0);
  if (size === 0) return;
  const list = Buffer.alloc(xattrMaxBytes);
  const length = await call("llistxattr", source, list, list.length);
  const target = terminated(to);
  const value = Buffer.alloc(xattrMaxBytes);
  for (const name of list.toString("utf8", 0, length).split("\0").slice(0, -1)) {
    const valueBytes = await call("lgetxattr", source, name, value, value.length);
    await call("lsetxattr", target, name, value, valueBytes, 0);
  }
}

/** Sets the times of `path` to those of `stats`, to the nanosecond. Throws `SystemCallError`. */
export async function setTimes(path: Buffer, stats: Pick<BigIntStats, "atimeNs" | "mtimeNs">): Promise<void> {
  // Two `struct timespec`: seconds, nanoseconds.
  const times = Buffer.alloc(32);
  for (const [index, time] of [stats.atimeNs, stats.mtimeNs].entries()) {
    const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    times.writeBigInt64LE((time - nanoseconds) / 1_000_000_000n, index * 16);
    times.writeBigInt64LE(nanoseconds, index * 16 + 8);
  }
  await call("utimensat", atCurrentFolder, terminated(path), times, atNoFollow);
}

/** Makes a device, pipe or socket of the kind and number that `stats` has. Throws `SystemCallError`, and `HostError` `not-supported`. */
export async function makeNode(path: Buffer, stats: Pick<BigIntStats, "mode" | "rdev">): Promise<void> {
  const number = mknodatNumber[process.arch];
  if (number === undefined)
    throw new HostError("not-supported", `devices cannot be made on ${process.arch}: ${path.toString()}`);
  await call("mknodat", number, atCurrentFolder, terminated(path), Number(stats.mode), Number(stats.rdev));
}

/** Where an open file has data, in order; what lies between is holes. Throws `SystemCallError`. */
export async function* dataRanges(fd: number, sizeBytes: number): AsyncGenerator<{ start: number; end: number }> {
  for (let end = 0; end < sizeBytes; ) {
    let start: number;
    try {
      start = await call("lseek", fd, end, seekData);
    } catch (error) {
      // Nothing but a hole to the end.
      if (errorCode(error) === "ENXIO") return;
      throw error;
    }
    end = await call("lseek", fd, start, seekHole);
    yield { start, end };
  }
}

function terminated(path: Buffer): Buffer {
  return Buffer.concat([path, Buffer.alloc(1)]);
}
