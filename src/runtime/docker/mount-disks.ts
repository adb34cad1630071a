import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type DiskWait, startDiskWait } from "../host/disk-search.ts";
import { addMountUser } from "../host/mount-users.ts";
import type { Mounts } from "../host/mounts.ts";
import { type InjectedDisk, type MountEvent, type RemountedDisk, remountDisks } from "../host/remount-disk.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import { readUnitCommands } from "../host/unit-commands.ts";
import { ownFolder } from "./daemon-lock.ts";
import { dockerDataRoots } from "./data-roots.ts";
import { mountUser } from "./disk-mount.ts";
import { readDiskRecords } from "./disk-records.ts";

export type MountDisksOptions = {
  /** Default: those of `dockerDataRoots` that disks were injected into. */
  readonly dataRoots?: readonly string[];
  /** For devices and files that are not there yet. Default: one that begins now. */
  readonly wait?: DiskWait;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MountEvent) => void;
  /** Default: those of this program's mount namespace. */
  readonly mounts?: Mounts;
};

/**
 * Mounts again, after a reboot or when devices were away, the disks that were injected into Docker daemons, which need not run. Called again
 * it changes nothing. A disk that cannot be mounted is a condition and does not keep others from being mounted. Throws `HostError` when
 * the mount table cannot be read, and the reason of `signal` when that is aborted; nothing is under way any more then.
 */
export async function mountDockerDisks(options: MountDisksOptions = {}): Promise<RemountedDisk[]> {
  const { signal = new AbortController().signal, mounts = new SystemMounts(), wait = startDiskWait() } = options;
  const disks: InjectedDisk[] = [];
  for (const dataRoot of options.dataRoots ?? (await injectedDataRoots())) {
    for (const record of (await readDiskRecords(dataRoot)).values()) {
      if (record.ejected !== undefined) continue;
      // Before the mount: whoever ejects the disk elsewhere meanwhile leaves it mounted.
      await addMountUser((path) => path, record.id, mountUser(dataRoot));
      disks.push({ id: record.id, records: [record], carriers: [] });
    }
  }
  return remountDisks(disks, { mounts, wait, signal, onEvent: options.onEvent });
}

async function injectedDataRoots(): Promise<string[]> {
  const roots = await dockerDataRoots(await readUnitCommands("docker.service"));
  const isInjected = await Promise.all(
    roots.map((root) =>
      stat(join(root, ownFolder)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return roots.filter((_, i) => isInjected[i]);
}
