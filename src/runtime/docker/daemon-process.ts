import { readdir, readlink } from "node:fs/promises";
import { processIds, processName } from "../host/path-users.ts";
import { listeningSockets } from "../host/unix-sockets.ts";

/**
 * The process of the daemon with a data root that answers on the socket at `address`; `undefined` when it is not to be seen. The API does not
 * tell it, and the peer of its socket may be systemd, but it holds databases in its data root open all the time. In a container, too, a
 * process may call itself dockerd, and have something open at that path: of several, that counts which has the socket.
 */
export async function findDaemonProcess(dataRoot: string, address: string): Promise<number | undefined> {
  const pids = await processIds();
  const names = await Promise.all(pids.map(processName));
  const likely = pids.filter((_, index) => names[index] === "dockerd");
  const sockets = await listeningSockets(address);
  for (const among of [likely, pids.filter((pid) => !likely.includes(pid))]) {
    let first: number | undefined;
    for (const pid of among) {
      const links = await openLinks(pid);
      if (!links.some((link) => link.startsWith(`${dataRoot}/`))) continue;
      if (links.some((link) => sockets.has(link))) return pid;
      first ??= pid;
    }
    // Of a socket that another program hands on to the daemon nothing is known.
    if (first !== undefined) return first;
  }
  return undefined;
}

async function openLinks(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = await readdir(folder).catch(() => []);
  return Promise.all(descriptors.map((descriptor) => readlink(`${folder}/${descriptor}`).catch(() => "")));
}
