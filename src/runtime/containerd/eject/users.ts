import type { Digest } from "../../../oci/descriptor.ts";
import type { User } from "../../runtime.ts";
import type { Container } from "../client/containers.ts";
import type { Image } from "../client/images.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { type BlobLink, blobsOfOthers } from "./blob-links.ts";
import { layerImageOf } from "./layer-links.ts";
import { chainFrom, References } from "./references.ts";

/** What is to go: of which disks, the snapshots by name, and the layer blobs that are links, ours or not. */
export type Going = {
  readonly disks: ReadonlySet<string>;
  readonly snapshots: ReadonlySet<string>;
  readonly blobs: readonly BlobLink[];
  /** Layer images that containerd's EROFS snapshotter finds there. */
  readonly layerImages?: ReadonlySet<string>;
};

export type Standing = {
  /** Who stands on what is to go, each once. */
  readonly users: readonly User[];
  /** The snapshots, blobs and layer images that they need. */
  readonly snapshots: ReadonlySet<string>;
  readonly blobs: ReadonlySet<Digest>;
  readonly layerImages: ReadonlySet<string>;
};

/** What the question is answered from. */
export type UserFacts = {
  readonly state: OwnedState;
  readonly snapshotter: string;
  readonly snapshotsFolder: string;
  readonly references: References;
  readonly containers: readonly Container[];
  /** `blobsOfOthers` of those that are to go. */
  readonly foreignBlobs: ReadonlyMap<Digest, string>;
};

/**
 * Who stands on snapshots or blobs that are to go. One namespace is enough for snapshots: parents, containers and images of a snapshot are in its own,
 * though all namespaces share one folder. Files of blobs are shared. Throws `RuntimeError`.
 */
export async function findUsers(node: ContainerdNode, state: OwnedState, going: Going): Promise<Standing> {
  const [references, containers, foreignBlobs] = await Promise.all([
    References.read(node),
    node.in.containers.list(),
    blobsOfOthers(node, going.blobs),
  ]);
  return usersOf(
    {
      state,
      snapshotter: node.snapshotter,
      snapshotsFolder: node.snapshotsFolder,
      references,
      containers,
      foreignBlobs,
    },
    going,
  );
}

/**
 * Containers count whether they run or not, and all images whose record is not ours and that lead to what is to go, though it be that we wrote
 * all of it: a tag that a pull has set again is the runtime's, and must work afterwards.
 */
export function usersOf(facts: UserFacts, going: Going): Standing {
  const { state } = facts;
  const standing = new Set<string>();
  const snapshots = new Set<string>();
  const need = (name: string): boolean => {
    const needed = [...chainFrom(state, name)].filter((each) => going.snapshots.has(each));
    for (const each of needed) snapshots.add(each);
    return needed.length > 0;
  };
  const unfinished = new Set(state.unfinished);
  for (const name of state.snapshots.keys()) {
    if (going.snapshots.has(name) || unfinished.has(name)) continue;
    // A pull finds layers there too.
    if (need(name) || layerImagesOf(facts, name, going).length > 0) standing.add(name);
  }
  const goingBlobs = new Set(going.blobs.map(({ digest }) => digest));
  const blobs = new Set<Digest>();
  const users: User[] = [];
  const named = new Set<string>();
  for (const { id, snapshotter, snapshotKey } of facts.containers) {
    if (snapshotter !== facts.snapshotter || !standing.has(snapshotKey)) continue;
    users.push({ kind: "container", name: id });
    for (const name of chainFrom(state, snapshotKey)) named.add(name);
  }
  const images: Image[] = [];
  for (const image of state.images.values()) {
    if (isGoing(image, going)) continue;
    const reached = facts.references.from(image.target.digest);
    const chains = reached.flatMap((blob) => blob.snapshots).flatMap((name) => [...chainFrom(state, name)]);
    const usedBlobs = reached.flatMap((blob) => blob.blobs).filter((digest) => goingBlobs.has(digest));
    for (const digest of usedBlobs) blobs.add(digest);
    const standsItself = reached.flatMap((blob) => blob.tops).map(need);
    if (usedBlobs.length === 0 && !standsItself.includes(true) && !chains.some((name) => standing.has(name))) continue;
    images.push(image);
    for (const name of chains) named.add(name);
  }
  for (const { name } of withoutAliases(images)) users.push({ kind: "image", name });
  for (const name of standing) if (!named.has(name)) users.push({ kind: "snapshot", name });
  for (const [digest, namespace] of facts.foreignBlobs) {
    // Named by its image.
    if (blobs.has(digest)) continue;
    blobs.add(digest);
    users.push({ kind: "image", name: `${digest} (a layer blob of namespace ${namespace})` });
  }
  const layerImages = new Set([...standing, ...snapshots].flatMap((name) => layerImagesOf(facts, name, going)));
  return { users, snapshots, blobs, layerImages };
}

/** Those that go, of the layers of a snapshot. */
function layerImagesOf(facts: UserFacts, name: string, { layerImages }: Going): string[] {
  if (layerImages === undefined || layerImages.size === 0) return [];
  return [...chainFrom(facts.state, name)].flatMap((each) => {
    const snapshot = facts.state.snapshots.get(each);
    const image = snapshot && layerImageOf(facts, snapshot);
    return image !== undefined && layerImages.has(image) ? [image] : [];
  });
}

/** CRI also knows an image by its id and its digest: those say nothing where there is a tag. */
function withoutAliases(images: readonly Image[]): Image[] {
  const isTag = ({ name }: Image): boolean => !name.startsWith("sha256:") && !name.includes("@");
  const tagged = new Set(images.filter(isTag).map(({ target }) => target.digest));
  return images.filter((image) => isTag(image) || !tagged.has(image.target.digest));
}

/** Our own record of an image of these disks. */
function isGoing({ labels }: Image, { disks }: Going): boolean {
  return disks.has(labels[label.disk] ?? "");
}
