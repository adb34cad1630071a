import { lstat, readlink, stat } from "node:fs/promises";
import { errorCode } from "../../host/system-calls.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { copyName } from "../eject/places.ts";
import { layerImageLink, layerImageTarget, usesLayerImages } from "../layer-cache.ts";
import { fsPath, linkTarget, type OwnedSnapshot } from "../owned-state.ts";

/**
 * What is where the link of a snapshot should be. `disk`: it leads to its folder of the disk. `node`: to a tree that was copied to the node
 * when the disk was ejected. `dangling`: to nothing. `elsewhere`: to anything else. `folder`: there is a plain folder, which after a power cut may be empty. `missing`:
 * nothing is there.
 */
export type LinkState = "disk" | "node" | "dangling" | "folder" | "missing" | "elsewhere";

/** `carrier`: of the disk that the snapshot belongs to. */
export async function readLink(
  node: ContainerdNode,
  snapshot: OwnedSnapshot,
  carrier: OwnedSnapshot | undefined,
): Promise<LinkState> {
  const isImage = usesLayerImages(node);
  const file = isImage ? layerImageLink(node, snapshot.tree) : fsPath(node, snapshot.number);
  const path = node.local(file);
  try {
    const stats = await lstat(path);
    if (!stats.isSymbolicLink()) return isImage && stats.isFile() ? "node" : "folder";
    const target = await readlink(path);
    const expected =
      carrier && (isImage ? layerImageTarget(carrier, snapshot.tree) : linkTarget(carrier, snapshot.tree));
    const leadsToDisk = target === expected;
    if (!leadsToDisk && target !== copyName) return "elsewhere";
    if (!(await exists(path))) return "dangling";
    return leadsToDisk ? "disk" : "node";
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "missing";
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
