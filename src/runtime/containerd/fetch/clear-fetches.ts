import { rmdir } from "node:fs/promises";
import type { ContainerdNode } from "../containerd-node.ts";
import { openSpool } from "./spool.ts";
import { tidySpool } from "./tidy-spool.ts";

/** Removes what all fetches that are over left, and the spool. Throws `RuntimeError`, and `ENOTEMPTY` of the folder while somebody fetches. */
export async function clearFetches(node: ContainerdNode): Promise<void> {
  await tidySpool(node, true);
  await rmdir(await openSpool(node));
}
