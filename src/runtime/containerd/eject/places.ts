import { readdir, readlink } from "node:fs/promises";
import { indexName } from "../../../disk/index-document.ts";
import { type DiskIndex, parseDiskIndex } from "../../../disk/reader/disk-index.ts";
import { isDeviceGone } from "../../host/block-devices.ts";
import { readFresh } from "../../host/fresh-read.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, fsPath, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { copiedLayerImages } from "./copy-layer-images.ts";
import { layerImageOf, readLayerLinks } from "./layer-links.ts";

/** Folder beside `fs` that a snapshot's tree is copied to. */
export const copyName = "nodewarm-tree";

/**
 * Where the tree of a snapshot of ours is: on a disk, in a copy of its own, or nowhere (a power cut can leave an empty folder). The label says
 * it too, but links are moved first.
 */
export type TreePlace =
  | { readonly on: "disk"; readonly disk: string }
  | { readonly on: "copy" }
  | { readonly on: "none" };

/** Of every `image` and `layer` snapshot of ours, by name. */
export async function readTreePlaces(node: ContainerdNode, state: OwnedState): Promise<Map<string, TreePlace>> {
  const diskOf = new Map<string, string>();
  for (const { role, number, disk } of state.owned.values()) if (role === "carrier") diskOf.set(number, disk);
  const places = new Map<string, TreePlace>();
  const copiedImages = await copiedLayerImages(node);
  const layerDisks = new Map((await readLayerLinks(node, state)).map(({ image, disk }) => [image, disk]));
  for (const { name, role, number } of state.owned.values()) {
    if (role !== "image" && role !== "layer") continue;
    const snapshot = state.snapshots.get(name);
    const layerImage = snapshot && layerImageOf(node, snapshot);
    if (layerImage !== undefined) {
      const disk = layerDisks.get(layerImage);
      const elsewhere: TreePlace = { on: copiedImages.has(layerImage) ? "copy" : "none" };
      places.set(name, disk === undefined ? elsewhere : { on: "disk", disk });
      continue;
    }
    const target = await readlink(node.local(fsPath(node, number))).catch(() => undefined);
    const disk = diskOf.get(/^\.\.\/(\d+)\/fs\//.exec(target ?? "")?.[1] ?? "");
    places.set(name, target === copyName ? { on: "copy" } : disk === undefined ? { on: "none" } : { on: "disk", disk });
  }
  return places;
}

/** Numbers of the snapshots whose trees are reached through a carrier, whoever they belong to. */
export async function snapshotsThrough(node: ContainerdNode, carrier: OwnedSnapshot): Promise<string[]> {
  const folder = node.local(node.snapshotsFolder);
  const found: string[] = [];
  for (const number of await readdir(folder)) {
    const target = await readlink(`${folder}/${number}/fs`).catch(() => "");
    if (target.startsWith(`../${carrier.number}/fs/`)) found.push(number);
  }
  return found;
}

/** A disk of ours that is mounted, and stays. */
export type PresentDisk = { readonly id: string; readonly carrier: OwnedSnapshot; readonly index: DiskIndex };

/**
 * The mounted disks of a namespace but for those that go; the newest first. One that cannot be read (its device fails, or something else is
 * mounted in its place) takes nothing over, and keeps no other from being ejected.
 */
export async function presentDisks(
  node: ContainerdNode,
  state: OwnedState,
  going: ReadonlySet<string>,
): Promise<PresentDisk[]> {
  const table = await node.mounts.table();
  const carriers = [...state.owned.values()].filter(({ role, disk }) => role === "carrier" && !going.has(disk));
  // All at once: each may be one whose device does not answer.
  const read = carriers.map(async ({ disk: id }): Promise<PresentDisk[]> => {
    const carrier = carrierOf(state, id);
    const mounted = carrier && table.at(fsPath(node, carrier.number));
    if (carrier === undefined || mounted === undefined || (await isDeviceGone(mounted.device))) return [];
    const index = await readIndex(node.local(`${fsPath(node, carrier.number)}/${indexName}`));
    // Whatever is mounted there, it is another disk.
    return index?.id === id ? [{ id, carrier, index }] : [];
  });
  const present = (await Promise.all(read)).flat();
  return present.sort((a, b) => b.index.sequence - a.index.sequence);
}

async function readIndex(path: string): Promise<DiskIndex | undefined> {
  try {
    return parseDiskIndex(await readFresh(path), path);
  } catch {
    return undefined;
  }
}

/** Ids of the disks that anything of ours in a namespace belongs to. */
export function injectedDisks(state: OwnedState): string[] {
  const ids = [...state.owned.values()].filter(({ role }) => role !== "empty").map(({ disk }) => disk);
  const more = [...state.images.values(), ...state.blobs].map(({ labels }) => labels[label.disk] ?? "");
  return [...new Set([...ids, ...more])].filter((id) => /^[0-9a-f]{64}$/.test(id));
}
