import { randomUUID } from "node:crypto";
import { isRuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import type { OwnedSnapshot } from "../owned-state.ts";
import { keyPrefix, label, sharedOwner } from "../ownership.ts";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import { snapshotsThrough } from "./places.ts";

/** Returns when a garbage collection is over that began after the call. */
export async function collectGarbage(node: ContainerdNode): Promise<void> {
  const id = `nodewarm-${randomUUID()}`;
  await node.in.leases.create(id, { [label.lease]: "eject" });
  await node.in.leases.delete(id, { sync: true });
}

/**
 * Has containerd clear away folders that still lead through a carrier though no record names them: it removes a record first, durably, and then the
 * folder, which a power cut brings back. It looks for such folders only when it collects after the removal of a snapshot
 * (`core/metadata/snapshot.go`, Remove; `db.go`, GarbageCollect), so an empty one is made and removed.
 */
export async function clearOrphans(node: ContainerdNode, carrier: OwnedSnapshot, atStep: AtStep): Promise<void> {
  if ((await snapshotsThrough(node, carrier)).length === 0) return;
  atStep("clear-orphans");
  const key = `${keyPrefix}${randomUUID()}`;
  await prepareSnapshot(node, node.snapshotWriter, key, {
    labels: { [label.role]: "empty", [label.disk]: sharedOwner },
  });
  await node.snapshotWriter.remove(key).catch((error: unknown) => {
    if (!isRuntimeError(error, "not-found")) throw error;
  });
  await collectGarbage(node);
}
