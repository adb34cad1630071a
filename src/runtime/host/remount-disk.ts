import { chmod, mkdir, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { causeText } from "../../oci/oci-error.ts";
import type { Condition } from "../runtime.ts";
import { bindDisk, lockDisk } from "./disk-lock.ts";
import { diskMountMode, diskMountPoint } from "./disk-mount-point.ts";
import { type DiskWait, findDisk, type WantedDisk } from "./disk-search.ts";
import type { DiskSource } from "./disk-source.ts";
import type { Mounts } from "./mounts.ts";
import { diskMountOf, whyStale } from "./stale-mount.ts";

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

/** A disk that was injected, and the folders on which it is shown beside its mount point. */
export type InjectedDisk = {
  readonly id: string;
  /** What is known of where it is; the first that fits counts. */
  readonly records: readonly WantedDisk[];
  readonly carriers: readonly string[];
};

export type RemountWork = {
  /** Those of the namespace of this program. */
  readonly mounts: Mounts;
  readonly wait: DiskWait;
  readonly signal: AbortSignal;
  readonly onEvent?: ((event: MountEvent) => void) | undefined;
};

const here = (path: string) => path;

/**
 * Mounts disks, all at the same time. Returns, or throws, when nothing is under way any more. Throws `HostError` when the mount table cannot be
 * read, and the reason of the signal; each disk is mounted everywhere or nowhere then.
 */
export async function remountDisks(disks: readonly InjectedDisk[], work: RemountWork): Promise<RemountedDisk[]> {
  const results = await Promise.allSettled(disks.map((disk) => remountDisk(disk, work)));
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

/**
 * Mounts a disk on its mount point and on its carriers, as far as it is not there. A mount whose device is gone, or whose file was replaced, is
 * taken away for the new one; containers that run keep it. It is searched for until the end of the wait. From then on it goes
 * on to the end whatever the signal says, so that no disk is left half mounted.
 */
async function remountDisk({ id, records, carriers }: InjectedDisk, work: RemountWork): Promise<RemountedDisk> {
  const { mounts, signal } = work;
  const before = await diskMountOf(mounts, id);
  const stale = before && (await whyStale(before, id, here));
  const isUsable = before !== undefined && stale !== "unreadable";
  const conditions: Condition[] = [];
  let source: DiskSource | undefined;
  if (before === undefined || stale !== undefined) {
    const onWait = (message: string) => work.onEvent?.({ type: "waiting", id, message });
    // A removed file can still be read: no reason to wait for another.
    const wait = isUsable ? { ...work.wait, deadline: AbortSignal.abort() } : work.wait;
    const found = await findDisk(records, { ...wait, signal, ...(!isUsable && { onWait }) });
    source = found.source;
    if (found.source === undefined && !isUsable) {
      const message = `disk ${id} is not there: ${found.problem}; its images cannot be started until it is, and "nodewarm mount --all" has run again`;
      return { id, path: undefined, result: "missing", carriers: [], conditions: [{ type: "DiskMissing", message }] };
    }
    if (found.source !== undefined && found.isMoved) conditions.push(moved(id, records, found.source.path));
  }
  // Not while it is searched for, which may take long.
  await using _ = await lockDisk(here, id, signal);
  const path = source?.path;
  try {
    if (source !== undefined) await replaceMount(mounts, id, source, before?.id);
  } catch (error) {
    const failure = { type: "MountFailed", message: causeText(error) };
    return { id, path, result: "missing", carriers: [], conditions: [...conditions, failure] };
  }
  const shown: string[] = [];
  let changes = source === undefined ? 0 : 1;
  for (const fs of carriers) {
    try {
      // The new device may have got the number of the one that is gone.
      if (stale !== undefined && source !== undefined) await unbind(mounts, fs);
      if (await bindDisk(mounts, id, fs)) changes++;
      shown.push(fs);
    } catch (error) {
      conditions.push({ type: "MountFailed", message: causeText(error) });
    }
  }
  if (changes > 0) work.onEvent?.({ type: "mounted", id, path: path ?? diskMountPoint(id) });
  const result = shown.length < carriers.length ? "missing" : changes > 0 ? "mounted" : "present";
  return { id, path, result, carriers: shown, conditions };
}

/** `stale`: id of the mount to be taken away; another one that is there by now is somebody else's, and new. */
async function replaceMount(mounts: Mounts, id: string, source: DiskSource, stale: number | undefined): Promise<void> {
  const target = diskMountPoint(id);
  const mounted = await diskMountOf(mounts, id);
  if (mounted !== undefined && mounted.id !== stale) return;
  if (mounted !== undefined) await mounts.unmount(target, { detach: true });
  await mkdir(dirname(target), { recursive: true });
  await chmod(dirname(target), diskMountMode);
  await mkdir(target, { recursive: true, mode: diskMountMode });
  try {
    await mounts.mountDisk(source, target);
  } catch (error) {
    // Nobody looks for an empty one.
    await rmdir(target).catch(() => {});
    throw error;
  }
}

async function unbind(mounts: Mounts, fs: string): Promise<void> {
  if ((await mounts.table()).at(fs)?.type === "erofs") await mounts.unmount(fs, { detach: true });
}

function moved(id: string, [record]: readonly WantedDisk[], path: string): Condition {
  const proof =
    record?.identity === undefined ? "its id says so; the device has no serial number" : `it is ${record.identity}`;
  return {
    type: "DiskMoved",
    message: `disk ${id} was injected from ${record?.source} and is ${path} now (${proof}); a name below /dev/disk/by-id would stay the same`,
  };
}
