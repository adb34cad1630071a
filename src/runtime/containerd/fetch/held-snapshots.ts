import { stat } from "node:fs/promises";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { Snapshot } from "../client/snapshots.ts";
import { fsPath, ownedSnapshot } from "../owned-state.ts";
import type { FetchJob } from "./fetch-job.ts";

/** Puts a snapshot that can be built on under the lease; false when there is none. Throws as `removeAbandoned`. */
export async function holdSnapshot(job: Pick<FetchJob, "node" | "leaseID" | "atStep">, name: string): Promise<boolean> {
  const { node, leaseID } = job;
  const snapshot = await findCommitted(node, name);
  if (snapshot === undefined) return false;
  if (await leadsNowhere(node, snapshot)) {
    await removeAbandoned(job, name);
    return false;
  }
  await node.in.leaseResources.add(leaseID, { type: `snapshots/${node.snapshotter}`, id: name });
  // It may have been collected before it was held.
  return (await findCommitted(node, name)) !== undefined;
}

/** Whether containers can be started from the snapshot of that name. */
export async function isUsable(node: FetchJob["node"], name: string): Promise<boolean> {
  const snapshot = await findCommitted(node, name);
  return snapshot !== undefined && !(await leadsNowhere(node, snapshot));
}

async function findCommitted({ snapshots }: FetchJob["node"], name: string): Promise<Snapshot | undefined> {
  try {
    const snapshot = await snapshots.stat(name);
    return snapshot.kind === "committed" ? snapshot : undefined;
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return undefined;
    throw error;
  }
}

/** Whether it is a link of ours to a disk that is away. */
async function leadsNowhere(node: FetchJob["node"], snapshot: Snapshot): Promise<boolean> {
  const owned = ownedSnapshot(snapshot);
  if (owned === undefined) return false;
  return stat(node.local(fsPath(node, owned.number))).then(
    () => false,
    () => true,
  );
}

/** Makes room for the layer itself. Throws `failed-precondition` while something stands on the snapshot. */
async function removeAbandoned({ node, atStep }: Pick<FetchJob, "node" | "atStep">, name: string): Promise<void> {
  await atStep("remove abandoned");
  try {
    await node.snapshotWriter.remove(name);
  } catch (cause) {
    if (isRuntimeError(cause, "not-found")) return;
    if (!isRuntimeError(cause, "failed-precondition")) throw cause;
    throw new RuntimeError(
      "failed-precondition",
      `the snapshot ${name} leads to a disk that is away, and others stand on it (nodewarm status names them); attach the disk again, or remove them`,
      { cause },
    );
  }
}
