import { readdir, readlink } from "node:fs/promises";
import { processIds } from "../host/path-users.ts";
import { listeningSockets } from "../host/unix-sockets.ts";

/** The process that listens on a unix socket, for daemons that do not tell their pid (containerd 1.6). `undefined` when none is to be seen. */
export async function socketOwner(path: string): Promise<number | undefined> {
  const sockets = await listeningSockets(path);
  if (sockets.size === 0) return undefined;
  for (const pid of await processIds()) if (await hasOpen(pid, sockets)) return pid;
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
