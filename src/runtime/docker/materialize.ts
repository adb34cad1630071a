import { rm } from "node:fs/promises";
import { join } from "node:path";
import { copyTree } from "../containerd/eject/copy-tree.ts";
import { diskMountPoint } from "../containerd/ownership.ts";
import { replaceLinkByFolder } from "../host/link-swap.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import type { DiskLink } from "./disk-link.ts";
import type { DockerNode } from "./docker-node.ts";

/** Folder beside `diff` for a copy that is not complete; it goes with the layer. */
const copyName = "nodewarm-copy";

/**
 * Puts a copy of a tree in the place of the link to it, while containers run on it. The copy is durable before it is used; what an earlier
 * call left is removed. Throws `HostError`, `SystemCallError`, what `node:fs` gives, or the reason of the signal.
 */
export async function materializeLayer(
  node: DockerNode,
  folder: string,
  { disk, tree }: DiskLink,
  signal: AbortSignal,
): Promise<void> {
  const copy = join(folder, copyName);
  await rm(copy, { recursive: true, force: true });
  try {
    await copyTree(node.local(`${diskMountPoint(disk)}/${tree}`), copy, signal);
    await syncFilesystem(folder);
    await replaceLinkByFolder(join(folder, "diff"), copy);
    await syncFilesystem(folder);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
