import { randomUUID } from "node:crypto";
import { basename, dirname } from "node:path";
import type { Digest } from "../../../oci/descriptor.ts";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { Mount } from "../client/snapshots.ts";
import { linkTarget } from "../owned-state.ts";
import { keyPrefix, label, type SnapshotRole, snapshotRefLabel } from "../ownership.ts";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import type { InjectJob } from "./job.ts";

/** A snapshot to be made whose tree is a folder of the disk. */
export type WantedSnapshot = {
  /** ChainID. */
  readonly name: Digest;
  /** Name of a committed snapshot. */
  readonly parent: string;
  readonly role: Extract<SnapshotRole, "image" | "layer">;
  readonly tree: string;
};

type Prepared = { readonly wanted: WantedSnapshot; readonly key: string; readonly number: string };

/**
 * Makes snapshots whose parents exist. containerd syncs its records and not the links, so all links of the batch are made durable before
 * the first record names one: after a power cut no snapshot has an empty folder in place of its link. One that is there already, or that
 * somebody else makes meanwhile under the same name, is left as it is and among the result. containerd 1.6.20 does not note it in the lease:
 * it may be collected as long as nothing refers to it.
 */
export async function makeLinkedSnapshots(
  job: InjectJob,
  wanted: readonly WantedSnapshot[],
): Promise<readonly WantedSnapshot[]> {
  const { node, atStep } = job;
  const present: WantedSnapshot[] = [];
  const prepared: Prepared[] = [];
  await sideBySide(wanted, async (each) => {
    atStep("prepare");
    const made = await prepare(job, each);
    if (made === undefined) present.push(each);
    else prepared.push(made);
  });
  if (prepared.length === 0) return present;
  await sideBySide(prepared, ({ wanted: { tree }, number }) => {
    atStep("link");
    return swapInLink(node.local(`${node.snapshotsFolder}/${number}/fs`), linkTarget(job.carrier, tree));
  });
  atStep("sync");
  await syncFilesystem(node.local(node.snapshotsFolder));
  await job.carried;
  await sideBySide(prepared, async (each) => {
    atStep("commit");
    if (!(await commit(job, each))) present.push(each.wanted);
  });
  return present;
}

/** Makes those anew that were there and have been collected since: asked once something refers to them, which holds them. */
export async function remakeCollected(job: InjectJob, present: readonly WantedSnapshot[]): Promise<void> {
  const { node } = job;
  const gone: WantedSnapshot[] = [];
  await sideBySide(present, async (each) => {
    try {
      await node.snapshots.stat(each.name);
    } catch (error) {
      if (!isRuntimeError(error, "not-found")) throw error;
      gone.push(each);
    }
  });
  await makeLinkedSnapshots(job, gone);
}

/** `undefined` when a snapshot of that name is there by now. */
async function prepare(job: InjectJob, wanted: WantedSnapshot): Promise<Prepared | undefined> {
  const { node, leased, meter } = job;
  // Beside its name in the databases: a commit then changes fewer of their pages.
  const key = `${wanted.name}/${keyPrefix}${randomUUID()}`;
  meter.count("prepare");
  try {
    const mounts = await prepareSnapshot(node, leased.snapshotWriter(node.snapshotter), key, {
      parent: wanted.parent,
      labels: { [label.role]: wanted.role, [label.disk]: job.open.disk.id, [snapshotRefLabel]: wanted.name },
    });
    return { wanted, key, number: snapshotNumber(mounts) };
  } catch (error) {
    if (isRuntimeError(error, "already-exists")) return undefined;
    throw error;
  }
}

/** False when somebody else has made one of that name meanwhile. */
async function commit(job: InjectJob, { wanted, key, number }: Prepared): Promise<boolean> {
  const { node, leased, meter } = job;
  const writer = leased.snapshotWriter(node.snapshotter);
  meter.count("commit");
  try {
    await writer.commit(wanted.name, key, {
      [label.role]: wanted.role,
      [label.disk]: job.open.disk.id,
      [label.number]: number,
      [label.tree]: wanted.tree,
    });
    return true;
  } catch (error) {
    if (!isRuntimeError(error, "already-exists")) throw error;
    meter.count("remove");
    await writer.remove(key);
    return false;
  }
}

/**
 * The number of the folder that a snapshot was prepared in: a bind mount of it, or the upper directory of an overlay (containerd
 * `plugins/snapshots/overlay/overlay.go`, mounts).
 */
export function snapshotNumber(mounts: readonly Mount[]): string {
  const [mount] = mounts;
  const upper = mount?.options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
  const folder = upper ?? (mount?.type === "bind" ? mount.source : undefined);
  const number = folder === undefined ? "" : basename(dirname(folder));
  if (folder === undefined || basename(folder) !== "fs" || !/^\d+$/.test(number))
    throw new RuntimeError(
      "failed-precondition",
      `the snapshotter gives ${JSON.stringify(mount ?? null)} to mount, which is not how overlayfs keeps its snapshots; only containerd's own overlayfs snapshotter is supported`,
    );
  return number;
}
