import { rm } from "node:fs/promises";
import type { ContainerdNode } from "../containerd-node.ts";
import { sweepLeases } from "./image-lease.ts";
import { openSpool } from "./spool.ts";

/** Removes the spool, and what fetches that are over left in one namespace. Nobody may be fetching. Throws `RuntimeError`. */
export async function clearFetches(node: ContainerdNode): Promise<void> {
  const spool = await openSpool(node);
  await sweepLeases(node, spool, Number.POSITIVE_INFINITY);
  await rm(spool, { recursive: true });
}
