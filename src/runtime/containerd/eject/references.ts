import { type Digest, isDigest } from "../../../oci/descriptor.ts";
import type { ContentInfo } from "../client/content.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";

/** A blob that an image leads to, by the labels that keep it from garbage collection. */
export type ReachedBlob = {
  readonly digest: Digest;
  /** Blobs that it refers to. */
  readonly blobs: readonly Digest[];
  /** Snapshots that containers of the image stand on. */
  readonly tops: readonly string[];
  /** Those, and the ends of chains that only injection refers to: they serve pulls, and the image does without. */
  readonly snapshots: readonly string[];
};

/** Key of the label by which a config refers to the snapshot that containers stand on (containerd, `docs/garbage-collection.md`). */
export function topReference(snapshotter: string): string {
  return `containerd.io/gc.ref.snapshot.${snapshotter}`;
}

/** That to the end of the chain below, where the top does not stand on it; only injection sets it. */
export function chainReference(snapshotter: string): string {
  return `${topReference(snapshotter)}/chain`;
}

/** Whether a label is a reference to a snapshot: its key may go on after the snapshotter. */
export function isSnapshotReference(key: string, snapshotter: string): boolean {
  const prefix = topReference(snapshotter);
  return key === prefix || key.startsWith(`${prefix}/`) || key.startsWith(`${prefix}.`);
}

/** All that one image leads to, by the references that garbage collection follows. */
export class References {
  readonly #blobs: ReadonlyMap<Digest, ReachedBlob>;

  constructor(blobs: Iterable<ContentInfo>, snapshotter: string) {
    this.#blobs = new Map([...blobs].map((blob) => [blob.digest, reachedBlob(blob, snapshotter)]));
  }

  /** Throws `RuntimeError`. */
  static async read(node: ContainerdNode): Promise<References> {
    return new References(await Array.fromAsync(node.in.content.list()), node.snapshotter);
  }

  from(target: Digest): ReachedBlob[] {
    const reached = new Map<Digest, ReachedBlob>();
    const waiting = [target];
    for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
      const blob = this.#blobs.get(digest);
      if (blob === undefined || reached.has(digest)) continue;
      reached.set(digest, blob);
      waiting.push(...blob.blobs);
    }
    return [...reached.values()];
  }
}

function reachedBlob({ digest, labels }: ContentInfo, snapshotter: string): ReachedBlob {
  const entries = Object.entries(labels);
  const isBlobReference = (key: string) => /^containerd\.io\/gc\.ref\.content(?:[./]|$)/.test(key);
  return {
    digest,
    blobs: entries.flatMap(([key, value]) => (isBlobReference(key) && isDigest(value) ? [value] : [])),
    tops: entries.flatMap(([key, value]) =>
      isSnapshotReference(key, snapshotter) && key !== chainReference(snapshotter) ? [value] : [],
    ),
    snapshots: entries.flatMap(([key, value]) => (isSnapshotReference(key, snapshotter) ? [value] : [])),
  };
}

/** A snapshot and those that it stands on, from the top down. */
export function* chainFrom(state: Pick<OwnedState, "snapshots">, name: string): Generator<string> {
  for (let next = state.snapshots.get(name); next !== undefined; next = state.snapshots.get(next.parent)) {
    yield next.name;
  }
}
