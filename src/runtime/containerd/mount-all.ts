import { realpath } from "node:fs/promises";
import { causeText } from "../../oci/oci-error.ts";
import { diskMountFolder } from "../host/disk-mount-point.ts";
import { type DiskWait, startDiskWait } from "../host/disk-search.ts";
import type { MountTable } from "../host/mount-table.ts";
import type { Mounts } from "../host/mounts.ts";
import { type MountEvent, type RemountedDisk, remountDisks } from "../host/remount-disk.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import type { Condition } from "../runtime.ts";
import { type Carrier, findCarriers } from "./boot/carriers.ts";
import { defaultSnapshotsFolders } from "./boot/snapshots-folders.ts";
import type { CarrierFile } from "./ownership.ts";

export type MountAllOptions = {
  /** Default: those of `defaultSnapshotsFolders`. What does not exist is passed over. */
  readonly snapshotsFolders?: readonly string[];
  /** For devices and files that are not there yet. Default: one that begins now. */
  readonly wait?: DiskWait;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MountEvent) => void;
  /** Default: those of this program's mount namespace. */
  readonly mounts?: Mounts;
};

export type MountReport = {
  readonly disks: readonly RemountedDisk[];
  /** `CarrierUnreadable`, `CarrierGone`, `FolderUnreadable`. */
  readonly conditions: readonly Condition[];
};

/**
 * Mounts again, after a reboot or when devices were away, every disk that was injected: on its own mount point and on its carriers. Needs
 * neither a running containerd nor any state of ours: the carriers in the folders of the snapshotters say all. Called again it changes nothing.
 * What cannot be mounted is a condition and keeps nothing else from being mounted. Throws `HostError` when the mount table cannot be read,
 * and the reason of `signal` when that is aborted; each disk is mounted everywhere or nowhere then, and nothing is under way any more.
 */
export async function mountAll(options: MountAllOptions = {}): Promise<MountReport> {
  const { signal = new AbortController().signal, mounts = new SystemMounts(), wait = startDiskWait() } = options;
  signal.throwIfAborted();
  const table = await mounts.table();
  const { carriers, conditions } = await findAll(options.snapshotsFolders ?? (await defaultSnapshotsFolders()));
  const disks = new Map<string, { id: string; records: CarrierFile[]; carriers: string[] }>();
  for (const { record, fs } of carriers) {
    const mounted = table.at(fs);
    // Whoever mounts something else there knows why.
    if (mounted !== undefined && mounted.type !== "erofs") continue;
    const id = record?.id ?? mountedID(table, fs);
    if (id === undefined) {
      if (mounted === undefined) conditions.push(gone(fs));
      continue;
    }
    const disk = disks.get(id) ?? { id, records: [], carriers: [] };
    disks.set(id, disk);
    disk.carriers.push(fs);
    if (record !== undefined) disk.records.push(record);
  }
  const work = { mounts, wait, signal, onEvent: options.onEvent };
  return { disks: await remountDisks([...disks.values()], work), conditions };
}

async function findAll(folders: readonly string[]): Promise<{ carriers: Carrier[]; conditions: Condition[] }> {
  const carriers: Carrier[] = [];
  const conditions: Condition[] = [];
  // The mount table has paths without links.
  const real = await Promise.all(folders.map((folder) => realpath(folder).catch(() => undefined)));
  for (const folder of new Set(real)) {
    if (folder === undefined) continue;
    try {
      const found = await findCarriers(folder);
      carriers.push(...found.carriers);
      conditions.push(...found.conditions);
    } catch (error) {
      conditions.push({ type: "FolderUnreadable", message: `${folder} cannot be read: ${causeText(error)}` });
    }
  }
  return { carriers, conditions };
}

function gone(fs: string): Condition {
  return {
    type: "CarrierGone",
    message: `snapshots lead through ${fs}, but nothing says which disk belongs there; inject the disk again`,
  };
}

/** Which disk is mounted on the carrier: the id is the name of its own mount point, on which the same device is mounted. */
function mountedID(table: MountTable, fs: string): string | undefined {
  const device = table.at(fs)?.device;
  const points = device === undefined ? [] : table.ofDevice(device).map(({ mountPoint }) => mountPoint);
  const own = points.find((mountPoint) => mountPoint.startsWith(`${diskMountFolder}/`));
  return own?.slice(diskMountFolder.length + 1);
}
