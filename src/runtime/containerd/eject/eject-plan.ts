import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { type BlobLink, readBlobLinks } from "./blob-links.ts";
import { type HandOver, type HandOverFacts, planHandOver } from "./hand-over.ts";
import { type LayerLink, readLayerLinks } from "./layer-links.ts";
import type { TreeToCopy } from "./materialize.ts";
import { type PresentDisk, presentDisks, readTreePlaces, type TreePlace } from "./places.ts";
import { chainFrom } from "./references.ts";
import type { Going } from "./users.ts";

export type EjectPlan = {
  readonly places: ReadonlyMap<string, TreePlace>;
  readonly blobLinks: readonly BlobLink[];
  readonly layerLinks: readonly LayerLink[];
  readonly handOver: HandOver;
  /** Index, manifests and configs of the disks that stay and are mounted. */
  readonly stayingDocuments: ReadonlySet<string>;
  /** What no disk that stays can take over. */
  readonly going: Required<Going>;
  /** Those of the snapshots that go whose trees are on disks that go: to be copied if they are needed. */
  readonly treesToCopy: readonly TreeToCopy[];
  /** Snapshots that have a copy of their tree already, from a call that was interrupted. */
  readonly copied: readonly string[];
};

/** Where all things of ours are, and which disks are mounted. */
export type EjectFacts = HandOverFacts & {
  /** The newest first. */
  readonly present: readonly PresentDisk[];
};

/** `going`: disks that are not looked at. Throws `RuntimeError`. */
export async function readEjectFacts(
  node: ContainerdNode,
  state: OwnedState,
  going: ReadonlySet<string> = new Set(),
): Promise<EjectFacts> {
  const [places, blobLinks, layerLinks, present] = await Promise.all([
    readTreePlaces(node, state),
    readBlobLinks(node),
    readLayerLinks(node, state),
    presentDisks(node, state, going),
  ]);
  return { state, namespace: node.namespace, places, blobLinks, layerLinks, present };
}

/** Decides what becomes of each thing of the disks. */
export function planEjection(facts: EjectFacts, disks: ReadonlySet<string>): EjectPlan {
  const { state, places, blobLinks, layerLinks } = facts;
  const staying = facts.present.filter(({ id }) => !disks.has(id));
  const handOver = planHandOver(facts, disks, staying);
  const moved = new Set(handOver.snapshots.map(({ snapshot }) => snapshot.name));
  const movedBlobs = new Set<string>(handOver.links.map(({ digest }) => digest));
  const snapshots = new Set<string>();
  const treesToCopy: TreeToCopy[] = [];
  const copied: string[] = [];
  for (const [name, place] of places) {
    const snapshot = state.owned.get(name);
    if (snapshot === undefined || moved.has(name)) continue;
    const disk = place.on === "disk" ? place.disk : snapshot.disk;
    if (!disks.has(disk)) continue;
    if (place.on === "copy") {
      copied.push(name);
      continue;
    }
    snapshots.add(name);
    treesToCopy.push({ snapshot, disk });
  }
  // Of other disks' chains, what stands on these: the next injection of those disks makes it again.
  for (const { name, role } of state.owned.values()) {
    if (role === "layer" && [...chainFrom(state, name)].some((each) => snapshots.has(each))) snapshots.add(name);
  }
  const ownerOf = new Map<string, string>(state.blobs.map(({ digest, labels }) => [digest, labels[label.disk] ?? ""]));
  const blobs = blobLinks.filter(
    ({ digest, disk }) => !movedBlobs.has(digest) && (disks.has(disk) || disks.has(ownerOf.get(digest) ?? "")),
  );
  const stayingDocuments = new Set(
    staying
      .flatMap(({ index }) => index.images.flatMap(({ target, manifest, config }) => [target, manifest, config]))
      .map(({ digest }) => digest),
  );
  const movedImages = new Set(handOver.layerLinks.map(({ image }) => image));
  const layerImages = new Set(
    layerLinks.flatMap(({ image, disk }) => (disks.has(disk) && !movedImages.has(image) ? [image] : [])),
  );
  const going = { disks, snapshots, blobs, layerImages };
  return { places, blobLinks, layerLinks, handOver, stayingDocuments, going, treesToCopy, copied };
}
