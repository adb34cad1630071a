import { chmod, mkdir, realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { causeText } from "../../oci/oci-error.ts";
import type { DiskSource } from "../host/disk-source.ts";
import type { MountTable } from "../host/mount-table.ts";
import type { Mounts } from "../host/mounts.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import type { Condition } from "../runtime.ts";
import { type Carrier, findCarriers } from "./boot/carriers.ts";
import { findDisk } from "./boot/disk-search.ts";
import { defaultSnapshotsFolders } from "./boot/snapshots-folders.ts";
import { bindDisk, lockDisk } from "./disk-lock.ts";
import { type CarrierFile, diskMountPoint } from "./ownership.ts";

export type MountAllOptions = {
  /** Default: those of `defaultSnapshotsFolders`. What does not exist is passed over. */
  readonly snapshotsFolders?: readonly string[];
  /** How long to wait for devices and files that are not there yet, for all disks together. Default: 10,000. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MountEvent) => void;
  /** Default: those of this program's mount namespace. */
  readonly mounts?: Mounts;
};

export type MountEvent =
  | { readonly type: "waiting"; readonly id: string; readonly message: string }
  | { readonly type: "mounted"; readonly id: string; readonly path: string };

export type RemountedDisk = {
  readonly id: string;
  /** Where it was found; `undefined` when it was mounted already, or not found. */
  readonly path: string | undefined;
  /** `present`: everything was mounted already. `missing`: some of it, or all, is not mounted; see the conditions. */
  readonly result: "mounted" | "present" | "missing";
  /** The `fs` folders of its carriers that it is mounted on. */
  readonly carriers: readonly string[];
  /** `DiskMissing`, `DiskMoved`, `MountFailed`. */
  readonly conditions: readonly Condition[];
};

export type MountReport = {
  readonly disks: readonly RemountedDisk[];
  /** `CarrierUnreadable`, `CarrierGone`, `FolderUnreadable`. */
  readonly conditions: readonly Condition[];
};

const defaultWaitMs = 10_000;
/** For a disk that is there and answers. */
const leastLookMs = 5000;

/** Of the folder of the mount points: only root passes, since the trees of a disk hold setuid programs. */
const folderMode = 0o700;

/**
 * Mounts again, after a reboot, every disk that was injected: on its own mount point and on its carriers. Needs neither a running
 * containerd nor any state of ours: the carriers in the folders of the snapshotters say all. Called again it changes nothing. What cannot
 * be mounted is a condition and keeps nothing else from being mounted. Throws `HostError` when the mount table cannot be read, and the
 * reason of `signal` when that is aborted; what is mounted until then stays.
 */
export async function mountAll(options: MountAllOptions = {}): Promise<MountReport> {
  const { signal = new AbortController().signal, mounts = new SystemMounts() } = options;
  signal.throwIfAborted();
  const table = await mounts.table();
  const { carriers, conditions } = await findAll(options.snapshotsFolders ?? (await defaultSnapshotsFolders()));
  const disks = new Map<string, Disk>();
  for (const { record: visible, fs } of carriers) {
    // What is to be seen on a mounted disk is not ours.
    const record = table.at(fs) === undefined ? visible : undefined;
    const id = record?.id ?? mountedID(table, fs);
    if (id === undefined) {
      if (table.at(fs) === undefined) conditions.push(gone(fs));
      continue;
    }
    const disk = disks.get(id) ?? { id, records: [], present: [], missing: [] };
    disks.set(id, disk);
    if (record === undefined) disk.present.push(fs);
    else {
      disk.records.push(record);
      disk.missing.push(fs);
    }
  }
  const waitMs = options.waitMs ?? defaultWaitMs;
  const [deadline, limit] = [new AbortController(), new AbortController()];
  const timers = [
    setTimeout(() => deadline.abort(), waitMs),
    setTimeout(() => limit.abort(), Math.max(waitMs, leastLookMs)),
  ];
  try {
    const work = { mounts, table, deadline: deadline.signal, limit: limit.signal, signal, onEvent: options.onEvent };
    return { disks: await Promise.all([...disks.values()].map((disk) => remount(disk, work))), conditions };
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** One disk and the `fs` folders of its carriers. */
type Disk = {
  readonly id: string;
  /** Of the carriers that it is missing on. */
  readonly records: CarrierFile[];
  readonly present: string[];
  readonly missing: string[];
};

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

type Work = {
  readonly mounts: Mounts;
  /** From before anything was mounted. */
  readonly table: MountTable;
  readonly deadline: AbortSignal;
  readonly limit: AbortSignal;
  readonly signal: AbortSignal;
  readonly onEvent: ((event: MountEvent) => void) | undefined;
};

/** Throws only the reason of the signal. */
async function remount({ id, records, present, missing }: Disk, work: Work): Promise<RemountedDisk> {
  if (missing.length === 0) return { id, path: undefined, result: "present", carriers: present, conditions: [] };
  const conditions: Condition[] = [];
  const mountPoint = diskMountPoint(id);
  let path: string | undefined;
  let source: DiskSource | undefined;
  if (work.table.at(mountPoint)?.type !== "erofs") {
    const onWait = (message: string) => work.onEvent?.({ type: "waiting", id, message });
    const found = await findDisk(records, { ...work, onWait });
    if (found.source === undefined) {
      const message = `disk ${id} is not there: ${found.problem}; its images cannot be started until it is, and "nodewarm mount --all" has run again`;
      return { id, path, result: "missing", carriers: present, conditions: [{ type: "DiskMissing", message }] };
    }
    source = found.source;
    path = source.path;
    if (found.isMoved) conditions.push(moved(records, path));
  }
  const bound: string[] = [];
  try {
    // Not while it is searched for, which may take long.
    await using _ = await lockDisk((each) => each, id, work.signal);
    if (source !== undefined) await mountOn(work.mounts, source, mountPoint);
    for (const fs of missing) {
      await bindDisk(work.mounts, id, fs).then(
        () => bound.push(fs),
        (error: unknown) => conditions.push(mountFailed(error)),
      );
    }
  } catch (error) {
    work.signal.throwIfAborted();
    conditions.push(mountFailed(error));
  }
  if (bound.length > 0) work.onEvent?.({ type: "mounted", id, path: path ?? mountPoint });
  const result = bound.length === missing.length ? "mounted" : "missing";
  return { id, path, result, carriers: [...present, ...bound], conditions };
}

async function mountOn(mounts: Mounts, source: DiskSource, mountPoint: string): Promise<void> {
  await mkdir(dirname(mountPoint), { recursive: true });
  await chmod(dirname(mountPoint), folderMode);
  await mkdir(mountPoint, { recursive: true, mode: folderMode });
  await mounts.mountDisk(source, mountPoint);
}

function mountFailed(error: unknown): Condition {
  return { type: "MountFailed", message: causeText(error) };
}

function moved(records: readonly CarrierFile[], path: string): Condition {
  const [{ id, source, identity } = { id: "", source: "" }] = records;
  const proof = identity === undefined ? "its id says so; the device has no serial number" : `it is ${identity}`;
  return {
    type: "DiskMoved",
    message: `disk ${id} was injected from ${source} and is ${path} now (${proof}); a name below /dev/disk/by-id would stay the same`,
  };
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
  const prefix = dirname(diskMountPoint("id"));
  return (
    device &&
    table
      .ofDevice(device)
      .flatMap(({ mountPoint }) =>
        mountPoint.startsWith(`${prefix}/`) ? [mountPoint.slice(prefix.length + 1)] : [],
      )[0]
  );
}
