import type { Digest } from "../../../oci/descriptor.ts";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { chainSnapshots } from "../inject/chain-snapshots.ts";
import type { AtStep } from "../inject/job.ts";
import { recordNames, topChainID } from "../inject/plan.ts";
import { layerImagePath } from "../layer-cache.ts";
import { fsPath, linkTarget, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { type BlobLink, blobOnDisk, blobPath } from "./blob-links.ts";
import { type LayerLink, layerLinkPath } from "./layer-links.ts";
import type { PresentDisk, TreePlace } from "./places.ts";

/** What a disk that goes shares with one that stays, and so belongs to that from now on. */
export type HandOver = {
  readonly snapshots: readonly { readonly snapshot: OwnedSnapshot; readonly to: PresentDisk; readonly tree: string }[];
  readonly links: readonly { readonly digest: Digest; readonly to: PresentDisk }[];
  /** Of layer images, for containerd's EROFS snapshotter. */
  readonly layerLinks: readonly { readonly image: string; readonly to: PresentDisk }[];
  /** Records of ours: of those links, and of indexes, manifests and configs. */
  readonly blobs: readonly { readonly digest: Digest; readonly to: PresentDisk }[];
  readonly records: readonly { readonly name: string; readonly to: PresentDisk }[];
};

export type HandOverFacts = {
  readonly state: OwnedState;
  readonly namespace: string;
  readonly places: ReadonlyMap<string, TreePlace>;
  readonly blobLinks: readonly BlobLink[];
  readonly layerLinks: readonly LayerLink[];
};

/** `going`: ids of the disks that go; `staying`: those that may take over, the first that can does. */
export function planHandOver(
  { state, namespace, places, blobLinks, layerLinks: imageLinks }: HandOverFacts,
  going: ReadonlySet<string>,
  staying: readonly PresentDisk[],
): HandOver {
  const contents = staying.map((disk) => contentsOf(disk, namespace));
  const find = <Found>(look: (disk: Contents) => Found | undefined): [PresentDisk, Found] | undefined => {
    for (const disk of contents) {
      const found = look(disk);
      if (found !== undefined) return [disk.disk, found];
    }
    return undefined;
  };
  const snapshots = [...state.owned.values()].flatMap((snapshot) => {
    const place = places.get(snapshot.name);
    const isOnGoing = place?.on === "disk" ? going.has(place.disk) : false;
    if (place === undefined || place.on === "copy" || (!isOnGoing && !going.has(snapshot.disk))) return [];
    // A layer image is the same on every disk.
    const layerImage = snapshot.number === "" ? snapshot.tree.replace(/^erofs\//, "") : undefined;
    const found = find((disk) => {
      if (layerImage !== undefined) return disk.layerImages.has(layerImage) ? snapshot.tree : undefined;
      return (snapshot.role === "image" ? disk.merged : disk.trees).get(snapshot.name);
    });
    return found === undefined ? [] : [{ snapshot, to: found[0], tree: found[1] }];
  });
  const ownerOf = new Map(state.blobs.map(({ digest, labels }) => [digest, labels[label.disk]]));
  const isGoing = (digest: Digest, disk?: string) => going.has(disk ?? "") || going.has(ownerOf.get(digest) ?? "");
  const links = blobLinks.flatMap(({ digest, disk }) => {
    const found = isGoing(digest, disk) ? find(({ layers }) => layers.has(digest) || undefined) : undefined;
    return found === undefined ? [] : [{ digest, to: found[0] }];
  });
  const linked = new Set(blobLinks.map(({ digest }) => digest));
  const documents = [...ownerOf.keys()].flatMap((digest) => {
    if (linked.has(digest) || !isGoing(digest)) return [];
    const found = find(({ documents }) => documents.has(digest) || undefined);
    return found === undefined ? [] : [{ digest, to: found[0] }];
  });
  const blobs = [...links.filter(({ digest }) => ownerOf.has(digest)), ...documents];
  const records = [...state.images.values()].flatMap(({ name, target, labels }) => {
    if (!going.has(labels[label.disk] ?? "")) return [];
    const found = find((disk) => disk.names.get(target.digest)?.has(name) || undefined);
    return found === undefined ? [] : [{ name, to: found[0] }];
  });
  const layerLinks = imageLinks.flatMap(({ image, disk }) => {
    const found = going.has(disk) ? find(({ layerImages }) => layerImages.has(image) || undefined) : undefined;
    return found === undefined ? [] : [{ image, to: found[0] }];
  });
  return { snapshots, links, layerLinks, blobs, records };
}

/** Links first, then, when they are durable, the labels: the links say where a thing is. */
export async function handOver(node: ContainerdNode, plan: HandOver, atStep: AtStep): Promise<void> {
  const { snapshots, links, layerLinks, blobs, records } = plan;
  if (snapshots.length + links.length + layerLinks.length > 0) {
    atStep("relink");
    await sideBySide(layerLinks, ({ image, to }) =>
      swapInLink(layerLinkPath(node, image), `../../../snapshots/${to.carrier.number}/fs/erofs/${image}`),
    );
    const linked = snapshots.filter(({ snapshot }) => snapshot.number !== "");
    await sideBySide(linked, ({ snapshot, to, tree }) =>
      swapInLink(node.local(fsPath(node, snapshot.number)), linkTarget(to.carrier, tree)),
    );
    await sideBySide(links, ({ digest, to }) => swapInLink(blobPath(node, digest), blobOnDisk(to.id, digest)));
    await syncFilesystem(node.local(node.snapshotsFolder));
    await syncFilesystem(node.local(node.blobsFolder));
  }
  if (snapshots.length + blobs.length + records.length === 0) return;
  atStep("relabel");
  await sideBySide(snapshots, ({ snapshot, to, tree }) =>
    node.snapshotWriter.updateLabels(snapshot.name, { [label.disk]: to.id, [label.tree]: tree }),
  );
  await sideBySide(blobs, ({ digest, to }) => node.in.contentManager.updateLabels(digest, { [label.disk]: to.id }));
  await sideBySide(records, ({ name, to }) => node.in.images.update(name, { labels: { [label.disk]: to.id } }));
}

type Contents = {
  readonly disk: PresentDisk;
  /** By chainID: the merged trees of images, and those of single layers. One cannot stand in for the other. */
  readonly merged: ReadonlyMap<string, string>;
  readonly trees: ReadonlyMap<string, string>;
  readonly documents: ReadonlySet<string>;
  /** Layer blobs that the disk has. */
  readonly layers: ReadonlySet<string>;
  /** Layer images for containerd's EROFS snapshotter. */
  readonly layerImages: ReadonlySet<string>;
  /** Names of the records that injection makes, by target. */
  readonly names: ReadonlyMap<string, ReadonlySet<string>>;
};

function contentsOf(disk: PresentDisk, namespace: string): Contents {
  const merged = new Map<string, string>();
  const trees = new Map<string, string>();
  const documents = new Set<string>();
  const layers = new Set<string>();
  const layerImages = new Set<string>();
  const names = new Map<string, Set<string>>();
  for (const image of disk.index.images) {
    for (const { chainID, tree } of image.layers) if (!trees.has(chainID)) trees.set(chainID, tree);
    for (const { name, tree } of chainSnapshots(image.layers)) if (!trees.has(name)) trees.set(name, tree);
    for (const { diffID } of disk.index.erofsCache ? image.layers : []) layerImages.add(layerImagePath(diffID));
    const top = topChainID(image);
    if (top !== undefined && image.tree !== null && !merged.has(top)) merged.set(top, image.tree);
    for (const { digest } of disk.index.blobs ? image.layers : []) layers.add(digest);
    for (const { digest } of [image.target, image.manifest, image.config]) documents.add(digest);
    const before = names.get(image.target.digest) ?? [];
    names.set(image.target.digest, new Set([...before, ...recordNames(image, namespace)]));
  }
  return { disk, merged, trees, documents, layers, layerImages, names };
}
