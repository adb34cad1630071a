import { dirname } from "node:path";
import { type Digest, digestHex } from "../../oci/descriptor.ts";
import type { ContainerdNode } from "./containerd-node.ts";
import type { OwnedSnapshot } from "./owned-state.ts";

/**
 * containerd's own EROFS snapshotter takes layers from folders that its configuration names (`layer_content_caches`, since 2.4;
 * `plugins/snapshots/erofs/erofs.go`, lookupCache): it notes the path of the layer's image and mounts that. So the folder must be known
 * before any disk is, serve several disks, and outlive a reboot as the snapshots do. It is one of ours beside the snapshots, with a link for
 * each layer that leads through the carrier of a disk: it dangles, and mounts fail, while that disk is away.
 */
export function layerCacheFolder({ snapshotsFolder }: Pick<ContainerdNode, "snapshotsFolder">): string {
  return `${dirname(snapshotsFolder)}/nodewarm`;
}

/** What containerd's configuration must say. */
export function layerCacheConfiguration(node: Pick<ContainerdNode, "snapshotsFolder">): string {
  return `[plugins."io.containerd.snapshotter.v1.erofs"]\n  layer_content_caches = [${JSON.stringify(layerCacheFolder(node))}]\n`;
}

/** Path of a layer's image, on a disk and in a cache. */
export function layerImagePath(diffID: Digest): string {
  const hex = digestHex(diffID);
  return `sha256/${hex.slice(0, 2)}/${hex}.erofs`;
}

/** The link in the cache folder that stands for `tree` of the disk, `erofs/` and `layerImagePath`. */
export function layerImageLink(node: Pick<ContainerdNode, "snapshotsFolder">, tree: string): string {
  return `${layerCacheFolder(node)}/${tree.slice("erofs/".length)}`;
}

/** Where it leads: relative, through the carrier. */
export function layerImageTarget(carrier: Pick<OwnedSnapshot, "number">, tree: string): string {
  return `../../../snapshots/${carrier.number}/fs/${tree}`;
}

/** Whether a snapshot of ours is a layer image; its folder is that of no link. */
export function usesLayerImages({ snapshotter }: Pick<ContainerdNode, "snapshotter">): boolean {
  return snapshotter === "erofs";
}
