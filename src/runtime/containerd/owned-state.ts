import type { ContentInfo } from "./client/content.ts";
import type { Image } from "./client/images.ts";
import type { Snapshot } from "./client/snapshots.ts";
import type { ContainerdNode } from "./containerd-node.ts";
import { carrierName, emptyName, label, recordOrigin, roleOf, type SnapshotRole } from "./ownership.ts";

/** A committed snapshot of ours. */
export type OwnedSnapshot = {
  readonly name: string;
  readonly parent: string;
  readonly role: SnapshotRole;
  /** Id of the disk; `shared` for the empty snapshot. */
  readonly disk: string;
  /** Its folder is `snapshots/<number>`. */
  readonly number: string;
  /** Folder on the disk; empty for carriers and the empty snapshot. */
  readonly tree: string;
};

/** What a namespace has, and what of it is ours: one look, from which everything else is decided. */
export type OwnedState = {
  /** All of the default snapshotter, by name (active ones by key). */
  readonly snapshots: ReadonlyMap<string, Snapshot>;
  readonly owned: ReadonlyMap<string, OwnedSnapshot>;
  /** Active snapshots of ours that someone did not get to commit. */
  readonly unfinished: readonly string[];
  /** All image records, by name. Those that are not ours have no labels of ours here, whatever they carry. */
  readonly images: ReadonlyMap<string, Image>;
  /** Names of records that are not ours and carry labels of ours: somebody copied one of ours. */
  readonly copiedRecords: ReadonlySet<string>;
  /** Blobs of ours. */
  readonly blobs: readonly ContentInfo[];
};

/** Throws `RuntimeError`. */
export async function readOwnedState(node: ContainerdNode): Promise<OwnedState> {
  const [snapshots, images, blobs] = await Promise.all([
    listSnapshots(node),
    node.in.images.list(),
    Array.fromAsync(node.in.content.list([`labels."${label.disk}"`])),
  ]);
  const owned = new Map<string, OwnedSnapshot>();
  const unfinished: string[] = [];
  for (const snapshot of snapshots.values()) {
    if (roleOf(snapshot.labels) === undefined) continue;
    if (snapshot.kind !== "committed") unfinished.push(snapshot.name);
    const ours = ownedSnapshot(snapshot);
    if (ours !== undefined) owned.set(snapshot.name, ours);
  }
  return {
    snapshots,
    owned,
    unfinished,
    ...ownRecords(images),
    blobs,
  };
}

/** Tells records of ours from those that only carry our labels. */
function ownRecords(records: readonly Image[]): Pick<OwnedState, "images" | "copiedRecords"> {
  const images = new Map<string, Image>();
  const copiedRecords = new Set<string>();
  for (const record of records) {
    const { [label.disk]: disk, [label.name]: name, [label.fetched]: fetched, ...labels } = record.labels;
    const isCopy = recordOrigin(record).from === "elsewhere" && (disk ?? name ?? fetched) !== undefined;
    images.set(record.name, isCopy ? { ...record, labels } : record);
    if (isCopy) copiedRecords.add(record.name);
  }
  return { images, copiedRecords };
}

/** A committed snapshot as ours; `undefined` where it is not, or its labels are none that we write. */
export function ownedSnapshot({ name, parent, kind, labels }: Snapshot): OwnedSnapshot | undefined {
  const role = roleOf(labels);
  if (role === undefined || kind !== "committed") return undefined;
  const { [label.disk]: disk = "", [label.number]: number = "", [label.tree]: tree = "" } = labels;
  // Both become parts of paths.
  if (!/^\d*$/.test(number) || !/^(?:[\w-]+(?:\/[\w.-]*\w)*)?$/.test(tree)) return undefined;
  return { name, parent, role, disk, number, tree };
}

/** All of the default snapshotter, by name (active ones by key). Throws `RuntimeError`. */
export async function listSnapshots(node: ContainerdNode): Promise<ReadonlyMap<string, Snapshot>> {
  const snapshots = new Map<string, Snapshot>();
  for await (const snapshot of node.snapshots.list()) snapshots.set(snapshot.name, snapshot);
  return snapshots;
}

export function carrierOf(state: Pick<OwnedState, "owned">, diskID: string): OwnedSnapshot | undefined {
  return state.owned.get(carrierName(diskID));
}

export function emptyOf(state: OwnedState): OwnedSnapshot | undefined {
  return state.owned.get(emptyName);
}

/** Path of a snapshot's tree, as containerd sees it. */
export function fsPath(node: Pick<ContainerdNode, "snapshotsFolder">, number: string): string {
  return `${node.snapshotsFolder}/${number}/fs`;
}

/** Where the `fs` of a snapshot leads that stands for a folder of a disk: relative, so that ID-mapped clones of the folder hold it. */
export function linkTarget(carrier: OwnedSnapshot, tree: string): string {
  return `../${carrier.number}/fs/${tree}`;
}
