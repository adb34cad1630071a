import { randomUUID } from "node:crypto";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { label } from "../ownership.ts";
import type { AtStep } from "./job.ts";
import type { Meter } from "./meter.ts";

/** Does `work` under a lease, which keeps from garbage collection what nothing refers to yet. It has no end: clocks may be wrong. */
export async function withLease(
  node: ContainerdNode,
  meter: Meter,
  signal: AbortSignal,
  work: (leased: NamespaceClient) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const id = `nodewarm-${randomUUID()}`;
  meter.count("lease");
  await node.in.leases.create(id, { [label.lease]: "inject" });
  try {
    await work(node.in.withLease(id));
  } finally {
    meter.count("lease");
    // Whoever comes next deletes it otherwise.
    await node.in.leases.delete(id).catch(() => {});
  }
}

/** Leases of calls that were killed: under the lock nobody works under them. What they hold is ours to complete, so they go last. */
export async function staleLeases(node: ContainerdNode): Promise<readonly string[]> {
  const leases = await node.in.leases.list();
  return leases.flatMap(({ id, labels }) => (labels[label.lease] === undefined ? [] : [id]));
}

export async function removeLeases(
  node: ContainerdNode,
  ids: readonly string[],
  meter: Meter,
  atStep: AtStep,
): Promise<void> {
  for (const id of ids) {
    atStep("remove lease");
    meter.count("lease");
    await node.in.leases.delete(id).catch(() => {});
  }
}
