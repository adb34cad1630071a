import { readdir, readlink } from "node:fs/promises";
import { processIds, processName } from "../host/path-users.ts";

/**
 * The process of the daemon with a data root; `undefined` when it is not to be seen. The API does not tell it, and the peer of its socket
 * may be systemd, but it holds databases in its data root open all the time.
 */
export async function findDaemonProcess(dataRoot: string): Promise<number | undefined> {
  const pids = await processIds();
  const names = await Promise.all(pids.map(processName));
  const likely = pids.filter((_, index) => names[index] === "dockerd");
  const others = pids.filter((pid) => !likely.includes(pid));
  for (const pid of [...likely, ...others]) if (await hasOpenBelow(pid, `${dataRoot}/`)) return pid;
  return undefined;
}

async function hasOpenBelow(pid: number, prefix: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  for (const descriptor of await readdir(folder).catch(() => [])) {
    const path = await readlink(`${folder}/${descriptor}`).catch(() => "");
    if (path.startsWith(prefix)) return true;
  }
  return false;
}
