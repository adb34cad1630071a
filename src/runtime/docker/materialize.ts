import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { copyTree, measureTree } from "../containerd/eject/copy-tree.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { replaceLinkByFolder } from "../host/link-swap.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import { errorCode } from "../host/system-calls.ts";
import { RuntimeError } from "../runtime-error.ts";
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

/**
 * Throws `RuntimeError` unless the trees of these layers can be copied: `failed-precondition` when a disk is not mounted,
 * `resource-exhausted` when there is no room. Changes nothing.
 */
export async function requireRoom(node: DockerNode, layers: readonly OwnLayer[], signal: AbortSignal): Promise<void> {
  let bytes = 0;
  let inodes = 0;
  for (const { state } of layers) {
    if (state.kind !== "linked") continue;
    const { disk, tree } = state.link;
    const size = await measureTree(node.local(`${diskMountPoint(disk)}/${tree}`), signal).catch((cause: unknown) => {
      if (errorCode(cause) !== "ENOENT") throw cause;
      const message = `${tree} cannot be copied, as disk ${disk} is not mounted; mount it first (nodewarm mount --all)`;
      throw new RuntimeError("failed-precondition", message, { cause });
    });
    bytes += size.bytes;
    inodes += size.inodes;
  }
  const { bavail, bsize, ffree, files } = await statfs(node.store.root);
  // Some file systems make inodes as they need them, and tell none.
  if (bavail * bsize >= bytes && (files === 0 || ffree >= inodes)) return;
  throw new RuntimeError(
    "resource-exhausted",
    `${inodes} files with ${Math.ceil(bytes / 2 ** 20)} MiB would be copied to ${node.dataRoot}, whose file system has room for ${ffree} files and ${Math.floor((bavail * bsize) / 2 ** 20)} MiB; remove the containers instead, or free some space`,
  );
}
