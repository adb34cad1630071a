import { randomUUID } from "node:crypto";
import { allOf } from "../../side-by-side.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { label } from "../ownership.ts";
import type { AtStep } from "./job.ts";
import type { Meter } from "./meter.ts";

/** Who takes a lease, and how it is called. */
type LeaseCall = {
  readonly node: ContainerdNode;
  readonly id: string;
  readonly meter: Meter;
  readonly signal: AbortSignal;
};

/** A name for the lease of a call. */
export function newLeaseID(): string {
  return `nodewarm-${randomUUID()}`;
}

/**
 * Does `work` under a lease, which keeps from garbage collection what nothing refers to yet. It has no end: clocks may be wrong. `before` is done
 * while it is made, and not under it; its result is that of all.
 */
export async function withLease<Found>(
  { node, id, meter, signal }: LeaseCall,
  before: () => Promise<Found>,
  work: (leased: NamespaceClient, found: Found) => Promise<void>,
): Promise<Found> {
  signal.throwIfAborted();
  meter.count("lease");
  const created = node.in.leases.create(id, { [label.lease]: "inject" });
  try {
    const [found] = await allOf([before(), created]);
    await work(node.in.withLease(id), found);
    return found;
  } finally {
    meter.count("lease");
    // Whoever comes next deletes it otherwise.
    await node.in.leases.delete(id).catch(() => {});
  }
}

/** Leases of calls that were killed: under the lock nobody works under them. What they hold is ours to complete, so they go last. */
export async function staleLeases(node: ContainerdNode, ownLease: string): Promise<readonly string[]> {
  const leases = await node.in.leases.list();
  return leases.flatMap(({ id, labels }) => (labels[label.lease] === undefined || id === ownLease ? [] : [id]));
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
