import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { object, optional, readShape, string } from "../../oci/json-shape.ts";
import { causeText } from "../../oci/oci-error.ts";
import { findDisk } from "../containerd/boot/disk-search.ts";
import { lockDisk } from "../containerd/disk-lock.ts";
import type { MountEvent, RemountedDisk } from "../containerd/mount-all.ts";
import { diskMountPoint } from "../containerd/ownership.ts";
import { addMountUser } from "../host/mount-users.ts";
import type { Mounts } from "../host/mounts.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import type { Condition } from "../runtime.ts";
import { ownFolder } from "./daemon-lock.ts";
import { folderMode, mountUser } from "./disk-mount.ts";
import { type DiskRecord, readDiskRecords } from "./disk-records.ts";
import { parseJson } from "./durable-file.ts";

export type MountDisksOptions = {
  /** Default: those of `defaultDataRoots`. */
  readonly dataRoots?: readonly string[];
  /** How long to wait for devices and files that are not there yet, for all disks together. Default: 10,000. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MountEvent) => void;
  /** Default: those of this program's mount namespace. */
  readonly mounts?: Mounts;
};

const defaultWaitMs = 10_000;
/** For a disk that is there and answers. */
const leastLookMs = 5000;

const daemonFile = object({ "data-root": optional(string) });

/** The data root of Docker on this machine (`/etc/docker/daemon.json`), if disks were injected into it. */
export async function defaultDataRoots(configuration = "/etc/docker/daemon.json"): Promise<string[]> {
  const text = await readFile(configuration, "utf8").catch(() => "{}");
  const root = readShape(daemonFile, parseJson(text)).value?.["data-root"] ?? "/var/lib/docker";
  const isInjected = await stat(join(root, ownFolder)).then(
    () => true,
    () => false,
  );
  return isInjected ? [root] : [];
}

/**
 * Mounts again, after a reboot, the disks that were injected into Docker daemons, which need not run. Called again it changes nothing. A disk
 * that cannot be mounted is a condition and does not keep others from being mounted. Throws `HostError` when the mount table cannot be read,
 * and the reason of `signal`.
 */
export async function mountDockerDisks(options: MountDisksOptions = {}): Promise<RemountedDisk[]> {
  const { waitMs = defaultWaitMs, signal = new AbortController().signal, mounts = new SystemMounts() } = options;
  const found: { readonly dataRoot: string; readonly record: DiskRecord }[] = [];
  for (const dataRoot of options.dataRoots ?? (await defaultDataRoots())) {
    for (const record of (await readDiskRecords(dataRoot)).values()) {
      if (record.ejected === undefined) found.push({ dataRoot, record });
    }
  }
  const search = {
    deadline: AbortSignal.timeout(waitMs),
    limit: AbortSignal.timeout(Math.max(waitMs, leastLookMs)),
    signal,
  };
  return Promise.all(
    found.map(async ({ dataRoot, record }): Promise<RemountedDisk> => {
      const { id } = record;
      const target = diskMountPoint(id);
      const result = (conditions: readonly Condition[], path?: string): RemountedDisk => {
        const outcome = conditions.length > 0 ? "missing" : path === undefined ? "present" : "mounted";
        return { id, path, result: outcome, carriers: [], conditions };
      };
      const isThere = (await mounts.table()).at(target)?.type === "erofs";
      if (isThere) {
        await addMountUser((path) => path, id, mountUser(dataRoot));
        return result([]);
      }
      const onWait = (message: string) => options.onEvent?.({ type: "waiting", id, message });
      const { source, ...outcome } = await findDisk([record], { ...search, onWait });
      if (source === undefined) {
        const problem = "problem" in outcome ? outcome.problem : "";
        const message = `disk ${id} is not there: ${problem}; its images cannot be started until it is, and "nodewarm mount --all" has run again`;
        return result([{ type: "DiskMissing", message }]);
      }
      try {
        await using _ = await lockDisk((each) => each, id, signal);
        await mkdir(dirname(target), { recursive: true, mode: folderMode });
        await mkdir(target, { recursive: true, mode: folderMode });
        await addMountUser((path) => path, id, mountUser(dataRoot));
        await mounts.mountDisk(source, target);
      } catch (error) {
        return result([{ type: "MountFailed", message: causeText(error) }]);
      }
      options.onEvent?.({ type: "mounted", id, path: source.path });
      return result([], source.path);
    }),
  );
}
