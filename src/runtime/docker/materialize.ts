import { rm } from "node:fs/promises";
import { join } from "node:path";
import { requireRoom } from "../copy-room.ts";
import { copyTree } from "../host/copy-tree.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { replaceLinkByFolder } from "../host/link-swap.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import type { DiskLink } from "./disk-link.ts";
import type { DockerNode } from "./docker-node.ts";
import type { OwnLayer } from "./graph.ts";

/** Folder beside `diff` for a copy that is not complete; it goes with the layer. */
const copyName = "nodewarm-copy";

/**
 * Puts a copy of a tree in the place of the link to it, while containers run on it. The copy is durable before it is used; what an earlier
 * call left is removed. That it is used is durable after `syncFilesystem`. Throws `HostError`, `SystemCallError`, what `node:fs` gives, or the reason of the signal.
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
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** `requireRoom` for the trees of those layers that are links. */
export async function requireLayerRoom(
  node: DockerNode,
  layers: readonly OwnLayer[],
  signal: AbortSignal,
): Promise<void> {
  const copies = layers.flatMap(({ state }) => {
    if (state.kind !== "linked") return [];
    const { disk, tree } = state.link;
    return [{ what: tree, disk, from: node.local(`${diskMountPoint(disk)}/${tree}`) }];
  });
  await requireRoom(copies, { folder: node.dataRoot, local: node.store.root }, signal);
}
