import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { lockNode } from "../node-lock.ts";
import { carrierOf, readOwnedState } from "../owned-state.ts";
import { planEjection, readEjectFacts } from "./eject-plan.ts";
import { handOver } from "./hand-over.ts";
import { hideDisk } from "./release-disk.ts";

/**
 * Makes one namespace of containerd do without a disk that cannot be relied on: what another mounted disk holds too belongs to that from
 * now on, and all other links to it lead nowhere, so that starts fail. Records and snapshots stay, for what runs stands on them: an ejection removes
 * them, a fetch heals them, an injection mounts the disk again. Throws `RuntimeError`, `HostError`, or the reason of the signal.
 */
export async function cutOffDisk(
  node: ContainerdNode,
  disk: string,
  signal: AbortSignal,
  atStep: AtStep = () => {},
): Promise<void> {
  await using _ = await lockNode(node, signal);
  const state = await readOwnedState(node);
  const going = new Set([disk]);
  await handOver(node, planEjection(await readEjectFacts(node, state, going), going).handOver, atStep);
  await hideDisk(node, disk, carrierOf(state, disk), signal);
}
