import { randomBytes } from "node:crypto";
import { link, lstat, readlink, rename, rmdir, symlink, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { HostError } from "./host-error.ts";
import { call, errorCode } from "./system-calls.ts";

/** include/uapi/linux/fcntl.h. */
const atCurrentFolder = -100;
/** include/uapi/linux/fs.h: RENAME_NOREPLACE, RENAME_EXCHANGE. */
const renameNoReplace = 1;
const renameExchange = 2;
/** Numbers of renameat2(2) (asm/unistd_64.h, asm-generic/unistd.h). */
const renameat2Number: Readonly<Record<string, number>> = {
  x64: 316,
  arm64: 276,
  riscv64: 276,
  loong64: 276,
  ppc64: 357,
  s390x: 347,
};

/**
 * Makes `path` a symbolic link to `target`, in place of an empty folder, another link or nothing. At every moment `path` is
 * either what it was or the link: the link is made beside it, and both change places in one step (renameat2(2) with
 * RENAME_EXCHANGE for a folder, rename(2) for a link). False when it is that link already.
 *
 * A crash leaves at most one stray name `.<name>.nodewarm-<hex>` beside `path`: the new link, or the old and empty folder. Not durable
 * until `syncFilesystem`. On file systems without RENAME_EXCHANGE the empty folder is removed first, and `path` is missing
 * for a moment. Throws `HostError` `occupied` when `path` is a folder with something in it, or anything else, and then
 * changes nothing; else what `node:fs` gives.
 */
export async function swapInLink(path: string, target: string): Promise<boolean> {
  const kind = await kindOf(path);
  if (kind === "other") throw occupied(path);
  if (kind === "link" && (await readlink(path)) === target) return false;
  const beside = besideName(path);
  await symlink(target, beside);
  try {
    if (kind === "folder") await replaceFolder(beside, path);
    else await rename(beside, path);
    return true;
  } catch (error) {
    await unlink(beside).catch(() => {});
    if (kind === "folder" && ["ENOTEMPTY", "EEXIST", "EBUSY", "EISDIR"].includes(errorCode(error) ?? "")) {
      throw occupied(path, error);
    }
    throw error;
  }
}

/**
 * Makes `path` a link to `target` in place of a file, in one step. Not durable until `syncFilesystem`. Throws what `node:fs` gives.
 */
export async function replaceFileByLink(path: string, target: string): Promise<void> {
  const beside = besideName(path);
  await symlink(target, beside);
  try {
    await rename(beside, path);
  } catch (error) {
    await unlink(beside).catch(() => {});
    throw error;
  }
}

function besideName(path: string): string {
  return join(dirname(path), `.${basename(path)}.nodewarm-${randomBytes(6).toString("hex")}`);
}

async function kindOf(path: string): Promise<"folder" | "link" | "nothing" | "other"> {
  try {
    const stats = await lstat(path);
    if (stats.isSymbolicLink()) return "link";
    return stats.isDirectory() ? "folder" : "other";
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "nothing";
    throw error;
  }
}

/** Puts the link `beside` in the place of an empty folder. When this throws, both are where they were. */
async function replaceFolder(beside: string, folder: string): Promise<void> {
  if (!(await exchange(beside, folder))) {
    await rmdir(folder);
    await rename(beside, folder);
    return;
  }
  try {
    await rmdir(beside);
  } catch (error) {
    // Another program's link was there by now, and ours is in its place.
    if (errorCode(error) === "ENOTDIR") return unlink(beside);
    await exchange(beside, folder);
    throw error;
  }
}

/**
 * Renames a file to a name that nobody has. False when somebody does: then nothing is changed. On file systems without RENAME_NOREPLACE
 * both names are the file's for a moment. Not durable until `syncFilesystem`. Throws what `node:fs` gives.
 */
export async function renameToNew(from: string, to: string): Promise<boolean> {
  try {
    if (await rename2(from, to, renameNoReplace)) return true;
    await link(from, to);
    await unlink(from);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

function exchange(one: string, other: string): Promise<boolean> {
  return rename2(one, other, renameExchange);
}

/** False where the kernel or the file system cannot. */
async function rename2(from: string, to: string, flags: number): Promise<boolean> {
  const number = renameat2Number[process.arch];
  if (number === undefined) return false;
  try {
    await call("renameat2", number, atCurrentFolder, from, atCurrentFolder, to, flags);
    return true;
  } catch (error) {
    if (errorCode(error) === "EINVAL" || errorCode(error) === "ENOSYS") return false;
    throw error;
  }
}

function occupied(path: string, cause?: unknown): HostError {
  return new HostError("occupied", `${path} is not empty, or neither a folder nor a link; it is left as it is`, {
    cause,
  });
}

/**
 * Puts the folder `folder`, which lies beside it, in the place of the link `path`. At every moment `path` is one of the two, except on file
 * systems without RENAME_EXCHANGE, where it is missing for a moment. Not durable until `syncFilesystem`. Throws what `node:fs` gives.
 */
export async function replaceLinkByFolder(path: string, folder: string): Promise<void> {
  if (await exchange(folder, path)) return unlink(folder);
  await unlink(path);
  await rename(folder, path);
}
