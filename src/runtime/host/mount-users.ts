import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Runtimes whose links lead through the mount of a disk, one file each below this folder, in the mount namespace of the mount: like the mount
 * it is gone after a reboot.
 */
const usersFolder = "/run/nodewarm/users";

/** Where paths of the mount namespace are reached, as `MountNamespace.localPath`. */
type LocalPath = (path: string) => string;

/** `user`: what it is, such as `Docker at /run/docker.sock`; the same text each time. */
export async function addMountUser(localPath: LocalPath, diskID: string, user: string): Promise<void> {
  const folder = localPath(`${usersFolder}/${diskID}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, fileName(user)), user);
}

/** Takes one user off the list; those that are left keep the mount. */
export async function removeMountUser(localPath: LocalPath, diskID: string, user: string): Promise<string[]> {
  const folder = localPath(`${usersFolder}/${diskID}`);
  await rm(join(folder, fileName(user)), { force: true });
  const others = await mountUsers(localPath, diskID);
  if (others.length === 0) await rmdir(folder).catch(() => {});
  return others;
}

/** All that need the mount of a disk. */
export async function mountUsers(localPath: LocalPath, diskID: string): Promise<string[]> {
  const folder = localPath(`${usersFolder}/${diskID}`);
  const names = await readdir(folder).catch(() => []);
  const users = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8").catch(() => "")));
  return users.filter((text) => text !== "");
}

function fileName(user: string): string {
  return createHash("sha256").update(user).digest("hex").slice(0, 16);
}
