import { isRuntimeError } from "../runtime-error.ts";
import type { Mount, NewSnapshot, SnapshotWriter } from "./client/snapshots.ts";
import type { ContainerdNode } from "./containerd-node.ts";

/** Each clears one folder away. */
const maxTries = 64;

/** By node that is open: what is asked for and not answered yet. */
const underWay = new WeakMap<object, Set<Promise<unknown>>>();

/**
 * `writer.prepare`, also where a folder stands in the way that no snapshot has. containerd renames the new folder to its number before it
 * commits the record with that number (`plugins/snapshots/overlay/overlay.go`, createSnapshot): a power cut in between keeps the folder and
 * loses the record, and the next Prepare takes that number, fails, and removes the folder. It does the last after its transaction, when another
 * Prepare may have the number: so the next try waits for all that is under way through this `node`. Throws `RuntimeError` as `prepare` does.
 */
export async function prepareSnapshot(
  node: Pick<ContainerdNode, "snapshotsFolder">,
  writer: SnapshotWriter,
  key: string,
  snapshot?: NewSnapshot,
): Promise<readonly Mount[]> {
  const calls = underWay.get(node) ?? new Set();
  underWay.set(node, calls);
  for (let tries = 1; ; tries++) {
    const call = writer.prepare(key, snapshot);
    calls.add(call);
    try {
      return await call;
    } catch (error) {
      if (tries === maxTries || !isInTheWay(error)) throw error;
    } finally {
      calls.delete(call);
    }
    await Promise.allSettled(calls);
  }
}

function isInTheWay(error: unknown): boolean {
  return isRuntimeError(error) && /failed to rename: rename \S+ \S+\/\d+: file exists$/.test(error.message);
}
