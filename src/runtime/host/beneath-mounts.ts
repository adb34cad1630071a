import { closeSync, constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type MountNamespace, ownMountNamespace } from "./mount-namespace.ts";

/** asm-generic/unistd.h; include/uapi/linux/fcntl.h and mount.h. */
const openTreeNumber = 428;
const atCurrentFolder = -100;
const treeClone = 1;
const closeOnExec = 0o2000000;

/**
 * Reads a file as the file system of `folder` itself has it, whatever is mounted over the folders on the way: a clone of the mount that
 * `folder` lies on, without those below it, is looked into and never attached. `path` is relative and must hold no links. Needs root and
 * Linux 5.2. Throws `SystemCallError`, and what `open(2)` gives.
 */
export async function readBeneathMounts(
  folder: string,
  path: string,
  namespace: MountNamespace = ownMountNamespace,
): Promise<Buffer> {
  await using handle = await openBeneathMounts(folder, path, constants.O_RDONLY, namespace);
  return await handle.readFile();
}

/** As `readBeneathMounts`, for whoever reads it himself. `flags`: those of open(2). */
export async function openBeneathMounts(
  folder: string,
  path: string,
  flags: number,
  namespace: MountNamespace = ownMountNamespace,
): Promise<FileHandle> {
  const tree = await namespace.call("openTree", openTreeNumber, atCurrentFolder, folder, treeClone | closeOnExec);
  try {
    return await open(`/proc/self/fd/${tree}/${path}`, flags);
  } finally {
    closeSync(tree);
  }
}
