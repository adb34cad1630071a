import { isRuntimeError } from "../../runtime-error.ts";
import type { Snapshot } from "../client/snapshots.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { roleOf } from "../ownership.ts";
import type { AtStep } from "./job.ts";
import type { Meter } from "./meter.ts";

/**
 * Removes the snapshots that a killed call did not get to commit. Those of this call must be committed, or not yet begun.
 */
export async function removeUnfinished(
  node: ContainerdNode,
  snapshots: ReadonlyMap<string, Snapshot>,
  meter: Meter,
  atStep: AtStep,
): Promise<void> {
  for (const { name, kind, labels } of snapshots.values()) {
    if (kind === "committed" || roleOf(labels) === undefined) continue;
    atStep("remove unfinished");
    meter.count("remove");
    await node.snapshotWriter.remove(name).catch((error: unknown) => {
      if (!isRuntimeError(error, "not-found")) throw error;
    });
  }
}
