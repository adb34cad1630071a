import { readdir, readlink, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Snapshot } from "../client/snapshots.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { layerCacheFolder } from "../layer-cache.ts";
import type { OwnedState } from "../owned-state.ts";

/** A link by which containerd's EROFS snapshotter finds the image of a layer on a disk. */
export type LayerLink = {
  /** Path of the layer's image below `erofs/` of a disk: `sha256/<xx>/<diffID hex>.erofs`. */
  readonly image: string;
  readonly disk: string;
};

/** On snapshots that were made of a cached layer: the path that was found (containerd `plugins/snapshots/erofs/blobsource.go`). */
const blobReference = "io.containerd.erofs.v1/blob.ref";

/** The links that lead to disks of the namespace; none where another snapshotter is used. */
export async function readLayerLinks(node: ContainerdNode, state: OwnedState): Promise<LayerLink[]> {
  const disks = new Map<string, string>();
  for (const { role, number, disk } of state.owned.values()) if (role === "carrier") disks.set(number, disk);
  const folder = node.local(layerCacheFolder(node));
  const links: LayerLink[] = [];
  for (const part of await readdir(`${folder}/sha256`).catch(() => [])) {
    for (const name of await readdir(`${folder}/sha256/${part}`).catch(() => [])) {
      const image = `sha256/${part}/${name}`;
      const target = await readlink(`${folder}/${image}`).catch(() => "");
      const disk = disks.get(/^(?:\.\.\/){3}snapshots\/(\d+)\/fs\/erofs\//.exec(target)?.[1] ?? "");
      if (disk !== undefined) links.push({ image, disk });
    }
  }
  return links;
}

/** The image of the layer that a snapshot was made of, where that was found through a link of ours. */
export function layerImageOf(node: Pick<ContainerdNode, "snapshotsFolder">, { labels }: Snapshot): string | undefined {
  const prefix = `${layerCacheFolder(node)}/`;
  const path = labels[blobReference];
  return path?.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}

export function layerLinkPath(node: Pick<ContainerdNode, "snapshotsFolder" | "local">, image: string): string {
  return node.local(join(layerCacheFolder(node), image));
}

/** Removes links, and the folders that are empty then. */
export async function removeLayerLinks(node: ContainerdNode, images: readonly string[]): Promise<void> {
  for (const image of images) await unlink(layerLinkPath(node, image)).catch(() => {});
  const folders = new Set(images.flatMap((image) => [dirname(image)]));
  for (const folder of [...folders, "sha256", "."])
    if (images.length > 0) await rmdir(layerLinkPath(node, folder)).catch(() => {});
}
