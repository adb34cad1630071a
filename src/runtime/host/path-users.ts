import { readdir, readFile, readlink } from "node:fs/promises";

export type PathUser = {
  readonly pid: number;
  /** Of the program, at most 15 bytes. */
  readonly name: string;
};

/**
 * Processes in the mount namespace of `inNamespaceOf` whose working directory, root, program or open files lie at or below a path: those that
 * keep it from being unmounted (mapped files, whose descriptor is closed, are not looked for). Processes that end meanwhile,
 * or that we may not look into, are left out.
 */
export async function findPathUsers(path: string, inNamespaceOf: number | "self"): Promise<PathUser[]> {
  const wanted = await readlink(`/proc/${inNamespaceOf}/ns/mnt`).catch(() => undefined);
  const users: PathUser[] = [];
  for (const pid of await processIds()) {
    const folder = `/proc/${pid}`;
    const namespace = await readlink(`${folder}/ns/mnt`).catch(() => undefined);
    if (namespace !== undefined && namespace === wanted && (await usesPath(folder, path)))
      users.push({ pid, name: await processName(pid) });
  }
  return users;
}

/** Of all processes that this program sees, ascending. */
export async function processIds(): Promise<number[]> {
  const names = await readdir("/proc");
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** `comm` of a process; empty when it has ended. */
export async function processName(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trimEnd();
}

async function usesPath(folder: string, path: string): Promise<boolean> {
  const isBelow = (target: string | undefined) => target === path || target?.startsWith(`${path}/`);
  for (const name of ["cwd", "root", "exe"]) {
    if (isBelow(await readlink(`${folder}/${name}`).catch(() => undefined))) return true;
  }
  const files = await readdir(`${folder}/fd`).catch(() => []);
  for (const fd of files) if (isBelow(await readlink(`${folder}/fd/${fd}`).catch(() => undefined))) return true;
  return false;
}
