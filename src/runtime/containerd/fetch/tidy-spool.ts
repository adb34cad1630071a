import type { ContainerdNode } from "../containerd-node.ts";
import { sweepLeases } from "./image-lease.ts";
import { openSpool, sweepSpool } from "./spool.ts";

/**
 * Removes what fetches that ended early left and nobody goes on with, as each fetch does; with `isTight` all of it. What a fetch works on stays.
 * Throws `RuntimeError`, or what `node:fs` gives.
 */
export async function tidySpool(node: ContainerdNode, isTight: boolean): Promise<void> {
  const spool = await openSpool(node);
  const now = isTight ? Number.POSITIVE_INFINITY : Date.now();
  await Promise.all([sweepSpool(spool, now), sweepLeases(node, spool, now)]);
}
