import { readdir, readFile, stat } from "node:fs/promises";
import { type DeviceNumber, decodeDeviceNumber, sameDevice } from "./device-number.ts";
import { containerIdOf } from "./holders.ts";
import { processIds, processName } from "./path-users.ts";

/** A process that keeps a device although it is mounted nowhere any more. */
export type DeviceUser = {
  readonly pid: number;
  /** Of the program, at most 15 bytes. */
  readonly name: string;
  /** 64 hex digits, where the process's control group tells the container. */
  readonly containerId: string | undefined;
};

/**
 * Processes, of whatever mount namespace, whose working directory, root, program or open files are on the file system of a device, also when
 * its mount was ended lazily: then no path tells it. Of open files only those on mounts that are out of sight are looked at, as a look at others may
 * wait for a server. Processes that end meanwhile, or that we may not look into, are left out.
 */
export async function findDeviceUsers(device: DeviceNumber): Promise<DeviceUser[]> {
  const users: DeviceUser[] = [];
  for (const pid of await processIds()) {
    if (!(await isOnDevice(`/proc/${pid}`, device))) continue;
    const cgroup = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
    users.push({ pid, name: await processName(pid), containerId: containerIdOf(cgroup) });
  }
  return users;
}

async function isOnDevice(folder: string, device: DeviceNumber): Promise<boolean> {
  const isThere = async (path: string): Promise<boolean> => {
    const stats = await stat(path).catch(() => undefined);
    return stats !== undefined && sameDevice(decodeDeviceNumber(stats.dev), device);
  };
  for (const name of ["cwd", "root", "exe"]) if (await isThere(`${folder}/${name}`)) return true;
  const table = await readFile(`${folder}/mountinfo`, "utf8").catch(() => "");
  const inSight = new Set(table.split("\n").map((line) => line.split(" ", 1)[0]));
  for (const fd of await readdir(`${folder}/fd`).catch(() => [])) {
    const info = await readFile(`${folder}/fdinfo/${fd}`, "utf8").catch(() => "");
    const mount = /^mnt_id:\s*(\d+)$/m.exec(info)?.[1];
    if (mount !== undefined && !inSight.has(mount) && (await isThere(`${folder}/fd/${fd}`))) return true;
  }
  return false;
}
