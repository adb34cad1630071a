import { readdir, readFile, readlink } from "node:fs/promises";

/**
 * The process that listens on a unix socket, for daemons that do not tell their pid (containerd 1.6). `undefined` when there is none in
 * this PID and network namespace. `/proc/net/unix` (`net/unix/af_unix.c`, unix_seq_show): … Inode Path.
 */
export async function socketOwner(path: string): Promise<number | undefined> {
  const inodes = new Set<string>();
  for (const line of (await readFile("/proc/net/unix", "utf8")).split("\n")) {
    const fields = line.trim().split(/ +/);
    if (fields.slice(7).join(" ") === path && fields[6] !== undefined) inodes.add(`socket:[${fields[6]}]`);
  }
  if (inodes.size === 0) return undefined;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids) if (await hasOpen(pid, inodes)) return pid;
  return undefined;
}

async function hasOpen(pid: number, links: ReadonlySet<string>): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const link = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
    if (links.has(link)) return true;
  }
  return false;
}
