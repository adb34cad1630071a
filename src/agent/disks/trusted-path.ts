import type { BigIntStats } from "node:fs";
import { type FileHandle, lstat, readlink, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { causeText } from "../../oci/oci-error.ts";
import { callHere, errorCode } from "../../runtime/host/system-calls.ts";

/** As many as the kernel follows (path_resolution(7)). */
const maxLinks = 40;

/**
 * File systems (`f_type`, include/uapi/linux/magic.h) where the owner and mode that we see are not what decides who writes: servers, other
 * nodes or a user's program do.
 */
const foreignFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0xff534d42, "SMB"],
  [0xfe534d42, "SMB"],
  [0x517b, "SMB"],
  [0x00c36400, "Ceph"],
  [0x5346414f, "AFS"],
  [0x01021997, "9p"],
  [0x65735546, "FUSE"],
  [0x47504653, "GPFS"],
  [0x0bd00bd0, "Lustre"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
]);

/** include/uapi/linux/fcntl.h: `F_SETLEASE`; include/uapi/asm-generic/fcntl.h: `F_RDLCK`, `F_UNLCK`. */
const setLease = 1024;
const readLease = 0;
const noLease = 2;

/**
 * Why others than root could put files into a folder, or replace it; `undefined` when nobody can. All folders above are looked at, and
 * those of links on the way. Access lists need no look of their own: whatever a POSIX ACL grants is bounded by its mask, which `mode` shows
 * as the rights of the group (acl(5)). Throws what `lstat(2)` gives: `ENOENT` when there is none.
 */
export async function folderRefusal(folder: string): Promise<string | undefined> {
  const todo = folder.split("/");
  let at = "/";
  let above = await lstat(at);
  let links = 0;
  if (above.uid !== 0 || isShared(above.mode)) return sharedRefusal(at);
  for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
    if (name === "" || name === ".") continue;
    const path = name === ".." ? dirname(at) : join(at, name);
    const stats = await lstat(path);
    if (stats.uid !== 0) return `${path} belongs to user ${stats.uid}; give it to root (chown root:root)`;
    if (stats.isSymbolicLink()) {
      // In a folder such as /tmp others may put a link of root's that they found elsewhere; folders they may not move.
      if (isShared(above.mode)) return `${path} is a link in a folder that others can write`;
      if (++links > maxLinks) return `${folder} leads through more than ${maxLinks} links`;
      const target = await readlink(path);
      if (target.startsWith("/")) at = "/";
      todo.unshift(...target.split("/"));
    } else {
      if (!stats.isDirectory()) return `${path} is no folder`;
      at = path;
    }
    above = await lstat(at);
    // In a sticky folder only root may replace what is root's, but anybody may add to it.
    if (isShared(above.mode) && (above.mode & 0o1000) === 0) return sharedRefusal(at);
  }
  return isShared(above.mode) ? sharedRefusal(at) : undefined;
}

/** Why others than root could write to a file or device; `undefined` when nobody can. */
export function fileRefusal(path: string, { uid, mode }: Pick<BigIntStats, "uid" | "mode">): string | undefined {
  if (uid !== 0n) return `${path} belongs to user ${uid}; give it to root (chown root:root)`;
  return isShared(Number(mode)) ? sharedRefusal(path) : undefined;
}

/** Why the file system of a path says nothing about who can write; `undefined` when it does. Throws what `statfs(2)` gives. */
export async function fileSystemRefusal(path: string): Promise<string | undefined> {
  const { type } = await statfs(path);
  const name = foreignFileSystems.get(Number(type) >>> 0);
  if (name === undefined) return undefined;
  return `${path} lies on ${name}, where others than this node's root decide who writes; copy it to a file system of this node`;
}

/**
 * Whether nobody has a file open for writing at this moment, however long ago it was opened: the kernel grants a read lease only then
 * (fcntl(2), F_SETLEASE). `why` otherwise. The lease is given back at once.
 */
export function writersOf(path: string, handle: FileHandle): { readonly isBusy: boolean; readonly why: string } {
  try {
    callHere("fcntl", handle.fd, setLease, readLease);
    callHere("fcntl", handle.fd, setLease, noLease);
    return { isBusy: false, why: "" };
  } catch (error) {
    const isBusy = errorCode(error) === "EAGAIN";
    const why = isBusy
      ? `${path} is open for writing: it is taken when it is closed; write under another name and rename it when it is whole`
      : `${path}: its file system cannot tell whether it is open for writing (${causeText(error)}); copy it to another one`;
    return { isBusy, why };
  }
}

function sharedRefusal(path: string): string {
  return `${path} can be written by others than root; take the right from group and others (chmod go-w; setfacl -b where it has an access list)`;
}

function isShared(mode: number): boolean {
  return (mode & 0o022) !== 0;
}
