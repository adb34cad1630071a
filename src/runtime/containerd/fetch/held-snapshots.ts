import { lstat, readdir, stat } from "node:fs/promises";
import { isDeviceGone } from "../../host/block-devices.ts";
import { decodeDeviceNumber } from "../../host/device-number.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { Snapshot } from "../client/snapshots.ts";
import { fsPath, type OwnedSnapshot, ownedSnapshot } from "../owned-state.ts";
import type { FetchJob } from "./fetch-job.ts";

type HoldingJob = Pick<FetchJob, "node" | "leaseID" | "atStep">;

/** What the layers of an image that are to be unpacked are put on. */
export type Ground = {
  /** The lowest layer whose snapshot is missing. */
  readonly from: number;
  /** Snapshots that it stands on, and that lead to a disk that is away: each after those that it stands on itself. */
  readonly stuck: readonly OwnedSnapshot[];
};

/**
 * Looks for the highest layer whose snapshot is there: what lies below it is in it, or beneath it. That one is held by the lease. Snapshots of ours
 * that lead nowhere are removed on the way, unless something stands on them. Throws `RuntimeError`.
 */
export async function findGround(job: HoldingJob & Pick<FetchJob, "chain">): Promise<Ground> {
  for (const [i, name] of [...job.chain.entries()].reverse()) {
    const stuck = await hold(job, name);
    if (stuck !== undefined) return { from: i + 1, stuck };
  }
  return { from: 0, stuck: [] };
}

/** Puts a snapshot that can be built on under the lease; false when there is none. Throws `failed-precondition` when it leads nowhere and stays. */
export async function holdSnapshot(job: HoldingJob, name: string): Promise<boolean> {
  const stuck = await hold(job, name);
  if (stuck !== undefined && stuck.length > 0)
    throw new RuntimeError(
      "failed-precondition",
      `the snapshot ${name} leads to a disk that is away, and others stand on it (nodewarm status names them); attach the disk again, or remove them`,
    );
  return stuck !== undefined;
}

/** Whether containers can be started from the snapshot of that name. */
export async function isUsable(node: FetchJob["node"], name: string): Promise<boolean> {
  const snapshot = await findCommitted(node, name);
  return snapshot !== undefined && (await abandonedIn(node, snapshot)).length === 0;
}

/** Whether a snapshot of ours leads to a disk that is away. */
export async function isAbandoned(node: FetchJob["node"], name: string): Promise<boolean> {
  const snapshot = await findCommitted(node, name);
  return snapshot !== undefined && (await abandoned(node, snapshot)) !== undefined;
}

/** `undefined` when there is none of that name; else what of it, and of those that it stands on, leads nowhere. */
async function hold(job: HoldingJob, name: string): Promise<readonly OwnedSnapshot[] | undefined> {
  const { node, leaseID } = job;
  const snapshot = await findCommitted(node, name);
  if (snapshot === undefined) return undefined;
  const stuck = await abandonedIn(node, snapshot);
  if (stuck.at(-1)?.name === name && (await removeAbandoned(job, name))) return undefined;
  await node.in.leaseResources.add(leaseID, { type: `snapshots/${node.snapshotter}`, id: name });
  // It may have been collected before it was held.
  return (await findCommitted(node, name)) === undefined ? undefined : stuck;
}

/** Those that lead nowhere of a snapshot and all that it stands on, the lowest first. */
async function abandonedIn(node: FetchJob["node"], top: Snapshot): Promise<readonly OwnedSnapshot[]> {
  const found: OwnedSnapshot[] = [];
  for (let next: Snapshot | undefined = top; next !== undefined; ) {
    const lost = await abandoned(node, next);
    if (lost !== undefined) found.unshift(lost);
    next = next.parent === "" ? undefined : await findCommitted(node, next.parent);
  }
  return found;
}

/** A snapshot that others can stand on. Throws `RuntimeError`. */
export async function findCommitted({ snapshots }: FetchJob["node"], name: string): Promise<Snapshot | undefined> {
  try {
    const snapshot = await snapshots.stat(name);
    return snapshot.kind === "committed" ? snapshot : undefined;
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return undefined;
    throw error;
  }
}

/** A snapshot of ours whose link leads nowhere, or that a power cut left with an empty folder in place of it. */
async function abandoned(node: FetchJob["node"], snapshot: Snapshot): Promise<OwnedSnapshot | undefined> {
  const owned = ownedSnapshot(snapshot);
  if (owned === undefined || (owned.role !== "image" && owned.role !== "layer")) return undefined;
  const path = node.local(fsPath(node, owned.number));
  try {
    if (!(await lstat(path)).isSymbolicLink()) return (await readdir(path)).length === 0 ? owned : undefined;
    // What the kernel remembers of a device that was detached looks sound.
    return (await isDeviceGone(decodeDeviceNumber((await stat(path)).dev))) ? owned : undefined;
  } catch {
    return owned;
  }
}

/** Makes room for the layer itself. False while something stands on the snapshot. */
async function removeAbandoned({ node, atStep }: HoldingJob, name: string): Promise<boolean> {
  await atStep("remove abandoned");
  try {
    await node.snapshotWriter.remove(name);
  } catch (error) {
    if (isRuntimeError(error, "failed-precondition")) return false;
    if (!isRuntimeError(error, "not-found")) throw error;
  }
  return true;
}
