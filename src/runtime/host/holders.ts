import { readFile, readlink } from "node:fs/promises";
import { type DeviceNumber, sameDevice } from "./device-number.ts";
import { type MountEntry, readMountTable } from "./mount-table.ts";
import { processIds, processName } from "./path-users.ts";

/** A mount namespace in which something is mounted, by one of its processes. */
export type Holder = {
  /** The lowest process id of the namespace. */
  readonly pid: number;
  /** Of that program, at most 15 bytes. */
  readonly name: string;
  /** 64 hex digits, where the process's control group tells the container. */
  readonly containerId: string | undefined;
  /** True for the namespace of this program. */
  readonly isOwn: boolean;
  readonly mountPoints: readonly string[];
};

/**
 * The mount namespaces in which a device is mounted, each once. A lazily ended mount, a lower directory of an overlay and
 * a namespace without processes hold a device too and are not seen here: `isDeviceInUse` knows of them.
 */
export function findDeviceHolders(device: DeviceNumber): Promise<Holder[]> {
  return findMountHolders((entry) => sameDevice(entry.device, device));
}

/**
 * The mount namespaces with a mount that `matches`, each once, ordered by process id. Processes that end meanwhile, or that
 * we may not look into (without root), are left out.
 */
export async function findMountHolders(matches: (entry: MountEntry) => boolean): Promise<Holder[]> {
  const own = await readlink("/proc/self/ns/mnt");
  const seen = new Set<string>();
  const holders: Holder[] = [];
  for (const pid of await processIds()) {
    const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => undefined);
    if (namespace === undefined || seen.has(namespace)) continue;
    // A process that has ended since shows nothing; the next of its namespace may.
    const table = await readMountTable(pid).catch(() => undefined);
    if (table === undefined || table.entries.length === 0) continue;
    seen.add(namespace);
    const mountPoints = table.entries.filter(matches).map(({ mountPoint }) => mountPoint);
    if (mountPoints.length === 0) continue;
    const [name, cgroup] = await Promise.all([
      processName(pid),
      readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => ""),
    ]);
    holders.push({ pid, name, containerId: containerIdOf(cgroup), isOwn: namespace === own, mountPoints });
  }
  return holders;
}

/**
 * The container of a process by its `/proc/PID/cgroup`: containerd, CRI-O and Docker end the path with the id, bare (cgroupfs
 * driver) or as `cri-containerd-ID.scope`, `crio-ID.scope`, `docker-ID.scope` (systemd driver).
 */
export function containerIdOf(cgroup: string): string | undefined {
  for (const line of cgroup.split("\n")) {
    // hierarchy:controllers:path (cgroups(7)); below the container's own group there may be groups that it made itself.
    const path = line.split(":").slice(2).join(":");
    const id = /(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?=\/|$)/.exec(path)?.[1];
    if (id !== undefined) return id;
  }
  return undefined;
}
