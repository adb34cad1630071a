import type { Digest } from "../../oci/descriptor.ts";
import type { ImageOrigin } from "../image-keeper.ts";
import type { Labels } from "./client/label.ts";

/**
 * What is ours carries labels: snapshots, blobs and image records. Nothing without them is ever removed. The record of a tag alone proves
 * nothing: a pull replaces its labels, and then the tag is no longer ours; and who gives an image another name copies them (`recordOwner`).
 */
export const label = {
  /** On everything: id of the disk, or `shared` for what all disks of a namespace use. */
  disk: "nodewarm.io/disk",
  /** On snapshots. */
  role: "nodewarm.io/role",
  /** On committed snapshots: the number of its folder, `snapshots/<number>/fs`. containerd does not tell it afterwards. */
  number: "nodewarm.io/number",
  /** On `image` and `layer` snapshots: the folder of the disk that `fs` is a link to. */
  tree: "nodewarm.io/tree",
  /** On carriers: which disk is newer than which. */
  line: "nodewarm.io/line",
  sequence: "nodewarm.io/sequence",
  /** On image records: the name of the record. */
  name: "nodewarm.io/name",
  /** On image records of ours that belong to no disk: what they name was fetched, or is kept as it was found. */
  fetched: "nodewarm.io/fetched",
  /** On image records that were moved: the digest that we set. Some who set a name leave its labels (`ctr image import` of 1.6). */
  target: "nodewarm.io/target",
  /** On image records of others that are kept: the pin is ours. */
  kept: "nodewarm.io/kept",
  /** On leases: those that nobody works under are removed by the next program that holds the lock. */
  lease: "nodewarm.io/lease",
} as const;

/** Value of `label.disk` for the empty snapshot. */
export const sharedOwner = "shared";

/**
 * `carrier`: empty; on its `fs` the disk is mounted. `empty`: parent of all links, so that none stands alone as a single lower
 * directory (user namespaces need that). `image`: named by the top chainID of an image, a link to its merged tree. `layer`: the same of one
 * layer of a chain below a top.
 */
export type SnapshotRole = "carrier" | "empty" | "image" | "layer";

/** Keeps a snapshot although nothing refers to it (containerd, `docs/garbage-collection.md`). */
export const gcRootLabel = "containerd.io/gc.root";

/**
 * On a snapshot that is prepared: the name that it will have. When that exists, containerd answers so and puts it under the lease, in one
 * transaction (`core/metadata/snapshot.go`, createSnapshot).
 */
export const snapshotRefLabel = "containerd.io/snapshot.ref";

export function carrierName(diskID: string): string {
  return `nodewarm/disk/${diskID}`;
}

export const emptyName = "nodewarm/empty";

/** In the keys of snapshots that are being made. */
export const keyPrefix = "nodewarm/making/";

/** Labels that CRI reads from image records: its own, and never to be collected by kubelet. */
export const criImageLabels: Labels = { "io.cri-containerd.image": "managed", "io.cri-containerd.pinned": "pinned" };

/** Key of the latter. */
export const pinnedLabel = "io.cri-containerd.pinned";

/** Whether labels of an image record keep kubelet from collecting the image. */
export function isPinned(labels: Labels): boolean {
  return labels[pinnedLabel] === criImageLabels[pinnedLabel];
}

/**
 * Id of the disk that an image record of ours belongs to; `undefined` for records of others. Those of others may carry all our labels:
 * `ctr image tag` and `docker tag` copy them to the new record. So a record is ours only if its label names itself, or if it is that of an
 * image id, which CRI makes, with the labels of the record that it has just seen, where it misses it. Nor is it where its target is another than
 * its label says: somebody moved it.
 */
export function recordOwner(record: LabelledRecord): string | undefined {
  return isOurs(record) ? record.labels[label.disk] : undefined;
}

/** What tells whose a record is. */
export type LabelledRecord = {
  readonly name: string;
  readonly labels: Labels;
  readonly target?: { readonly digest: Digest };
};

function isOurs({ name, labels, target }: LabelledRecord): boolean {
  if (isIDRecord(name)) return true;
  const digest = labels[label.target];
  return labels[label.name] === name && (digest === undefined || digest === target?.digest);
}

/** Labels of an image record that is ours: of a disk, or of what was fetched; pinned where the runtime knows that. */
export function recordLabels(name: string, owner: { readonly disk: string } | "fetched", isCri: boolean): Labels {
  const whose: Labels = owner === "fetched" ? { [label.fetched]: "true" } : { [label.disk]: owner.disk };
  return { ...whose, [label.name]: name, ...(isCri && criImageLabels) };
}

/** Who made an image record. Copies of our records are not ours (`recordOwner`). */
export function recordOrigin(record: LabelledRecord): ImageOrigin {
  const disk = recordOwner(record);
  if (disk !== undefined) return { from: "disk", disk };
  return isOurs(record) && record.labels[label.fetched] !== undefined ? { from: "fetch" } : { from: "elsewhere" };
}

/** Whether a record is that by which CRI knows the id of an image. */
export function isIDRecord(name: string): boolean {
  return name.startsWith("sha256:");
}

/** Role of a snapshot of ours; `undefined` for anything else. */
export function roleOf(labels: Labels): SnapshotRole | undefined {
  const role = labels[label.role];
  return role === "carrier" || role === "empty" || role === "image" || role === "layer" ? role : undefined;
}

/** File in a carrier's own `fs`, under the mount: what to mount there when neither state nor containerd is at hand. */
export const carrierFileName = "nodewarm-carrier.json";

/** Content of that file. */
export type CarrierFile = {
  readonly formatVersion: "1";
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  /** Absolute path of the file or block device that the disk was injected from. */
  readonly source: string;
  /** What the hardware of a block device said it is (`blockDeviceIdentity`): no other is mounted in its place at boot. */
  readonly identity?: string;
};
