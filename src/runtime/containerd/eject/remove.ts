import type { Digest } from "../../../oci/descriptor.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { ContentInfo } from "../client/content.ts";
import type { LabelChange, Labels } from "../client/label.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import type { OwnedState } from "../owned-state.ts";
import { isPinned, label, pinnedLabel, recordOrigin } from "../ownership.ts";
import type { BlobLink } from "./blob-links.ts";
import { chainFrom, chainReference, isSnapshotReference, References, topReference } from "./references.ts";

/** What is no longer ours on a snapshot. */
export const noSnapshotLabels: LabelChange = {
  [label.disk]: undefined,
  [label.role]: undefined,
  [label.number]: undefined,
  [label.tree]: undefined,
};

/** Snapshots that somebody did not get to commit, and leases of programs that are no more: under the lock nobody works on them. */
export async function clearUnfinished(node: ContainerdNode, state: OwnedState, atStep: AtStep): Promise<void> {
  for (const key of state.unfinished) {
    atStep("remove-unfinished");
    await unlessGone(node.snapshotWriter.remove(key));
  }
  for (const { id, labels } of await node.in.leases.list()) {
    if (labels[label.lease] === undefined) continue;
    atStep("remove-lease");
    await unlessGone(node.in.leases.delete(id));
  }
}

/** Nor on an image record. */
const noRecordLabels: LabelChange = {
  [label.disk]: undefined,
  [label.name]: undefined,
  [label.fetched]: undefined,
  [label.target]: undefined,
  [pinnedLabel]: undefined,
};

export type GivenBack = {
  readonly disks: ReadonlySet<string>;
  /** Names of snapshots whose trees are copies now. */
  readonly snapshots: readonly string[];
  /** Those whose files are copies now, ours or not. */
  readonly blobs: ReadonlySet<Digest>;
};

/**
 * Makes snapshots and blobs that do not need the disk any more the runtime's own, and with them the images that are started from those
 * snapshots: their records stay, unpinned.
 */
export async function giveBack(
  node: ContainerdNode,
  state: OwnedState,
  given: GivenBack,
  atStep: AtStep,
): Promise<void> {
  const snapshots = new Set(given.snapshots);
  if (snapshots.size > 0) {
    const references = await References.read(node);
    const tops = (target: Digest): string[] => references.from(target).flatMap((blob) => blob.tops);
    for (const { name, target, labels } of state.images.values()) {
      const isOurs = given.disks.has(labels[label.disk] ?? "") || state.copiedRecords.has(name);
      if (!isOurs || !tops(target.digest).some((top) => snapshots.has(top))) continue;
      atStep("give-back-record");
      await node.in.images.update(name, { labels: noRecordLabels });
    }
  }
  for (const name of snapshots) {
    atStep("give-back-snapshot");
    await node.snapshotWriter.updateLabels(name, noSnapshotLabels);
  }
  for (const { digest } of state.blobs) {
    if (!given.blobs.has(digest)) continue;
    atStep("give-back-blob");
    await node.in.contentManager.updateLabels(digest, { [label.disk]: undefined });
  }
}

/**
 * Deletes the image records of disks. A tag that a pull has set again since, or that was copied from ours, is not ours: it is left, and only
 * loses the labels that it has from us. Resolves to how many images each disk lost.
 */
export async function removeRecords(
  node: ContainerdNode,
  state: OwnedState,
  disks: ReadonlySet<string>,
  atStep: AtStep,
): Promise<Map<string, number>> {
  const removed = new Map<string, Set<Digest>>();
  const isOfDisks = ({ labels }: { readonly labels: Labels }): boolean => disks.has(labels[label.disk] ?? "");
  const written = new Set([
    ...state.blobs.filter(isOfDisks).map(({ digest }) => digest),
    ...[...state.images.values()].filter(isOfDisks).map(({ target }) => target.digest),
  ]);
  for (const record of state.images.values()) {
    const { name, target, labels } = record;
    const disk = labels[label.disk];
    if (disk !== undefined && disks.has(disk)) {
      atStep("remove-record");
      await unlessGone(node.in.images.delete(name));
      removed.set(disk, (removed.get(disk) ?? new Set()).add(target.digest));
    } else if (recordOrigin(record).from === "elsewhere" && written.has(target.digest)) {
      const hasOurPin = isPinned(labels) && labels[label.kept] === undefined;
      if (!hasOurPin && !state.copiedRecords.has(name)) continue;
      atStep("unpin");
      await unlessGone(node.in.images.update(name, { labels: noRecordLabels }));
    }
  }
  return new Map([...removed].map(([disk, targets]) => [disk, targets.size]));
}

/**
 * Removes snapshots, those first that stand on others. Where a collection has taken the upper one, containerd keeps in mind that the lower one had
 * a child and never removes it when it is asked to (`core/metadata/gc.go`, remove): the collection that follows does. Throws `RuntimeError`
 * `failed-precondition` when somebody stands on one.
 */
export async function removeSnapshots(
  node: ContainerdNode,
  state: OwnedState,
  names: ReadonlySet<string>,
  atStep: AtStep,
): Promise<void> {
  const levels: string[][] = [];
  for (const name of names) {
    const height = [...chainFrom(state, name)].length;
    levels[height] ??= [];
    levels[height].push(name);
  }
  for (const level of levels.reverse()) {
    if (level === undefined) continue;
    atStep("remove-snapshots");
    await sideBySide(level, async (name) => {
      try {
        await unlessGone(node.snapshotWriter.remove(name));
      } catch (error) {
        if (!isRuntimeError(error, "failed-precondition") || (await hasChild(node, name))) throw error;
      }
    });
  }
}

async function hasChild(node: ContainerdNode, name: string): Promise<boolean> {
  const children = await Array.fromAsync(node.snapshots.list([`parent==${name}`]));
  return children.length > 0;
}

/** Removes the records of claimed blobs; the collection that follows unlinks their files, unless another namespace has them. */
export async function removeBlobs(node: ContainerdNode, blobs: readonly BlobLink[], atStep: AtStep): Promise<void> {
  for (const { digest } of blobs) {
    atStep("remove-blob");
    await unlessGone(node.in.contentManager.delete(digest));
  }
}

export type TakenOff = {
  readonly disks: ReadonlySet<string>;
  /** Snapshots that were removed. */
  readonly snapshots: ReadonlySet<string>;
  /** Documents of disks that stay. */
  readonly staying: ReadonlySet<string>;
};

/**
 * After a garbage collection: what is left of the documents that we wrote is needed by others, and theirs from now on. The references that
 * injection added go too, from documents of others as well.
 */
export async function takeLabelsOff(
  node: ContainerdNode,
  state: OwnedState,
  taken: TakenOff,
  atStep: AtStep,
): Promise<void> {
  for await (const blob of node.in.content.list()) {
    const stale = staleLabels(blob, node.snapshotter, state, taken);
    if (stale.length === 0) continue;
    atStep("take-labels-off");
    const change = Object.fromEntries(stale.map((key) => [key, undefined]));
    await unlessGone(node.in.contentManager.updateLabels(blob.digest, change));
  }
}

function staleLabels(
  { digest, labels }: ContentInfo,
  snapshotter: string,
  state: OwnedState,
  { disks, snapshots, staying }: TakenOff,
): string[] {
  const owner = labels[label.disk];
  if (owner === undefined ? staying.has(digest) : !disks.has(owner)) return [];
  const isThere = (name: string | undefined): boolean => name !== undefined && state.snapshots.has(name);
  const isGone = (name: string): boolean => !isThere(name) && (snapshots.has(name) || owner !== undefined);
  // The top of an image that was not ours stands on its chain itself.
  const keepsChain = !isThere(labels[topReference(snapshotter)]);
  return Object.entries(labels).flatMap(([key, value]) => {
    if (key === label.disk) return [key];
    if (key === chainReference(snapshotter)) return keepsChain && !isGone(value) ? [] : [key];
    return isSnapshotReference(key, snapshotter) && isGone(value) ? [key] : [];
  });
}

async function unlessGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isRuntimeError(error, "not-found")) throw error;
  }
}
