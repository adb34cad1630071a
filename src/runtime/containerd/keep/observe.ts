import type { Digest } from "../../../oci/descriptor.ts";
import { causeText } from "../../../oci/oci-error.ts";
import type { ImageObservation, NodeContent, NodeImage } from "../../image-keeper.ts";
import type { User } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { Container } from "../client/containers.ts";
import { type ContainerdNode, criNamespace, dockerNamespace } from "../containerd-node.ts";
import { isIDRecord, isPinned, recordOrigin } from "../ownership.ts";
import type { DocumentCache } from "./document-cache.ts";
import { type AllSnapshots, lookAtAll } from "./look.ts";
import { type ImageState, Warmth } from "./warmth.ts";

/**
 * One list each of records, snapshots, blobs and containers, and a look at each link. Throws `RuntimeError`, what `node:fs` gives, or the
 * reason of the signal.
 */
export async function observeImages(
  node: ContainerdNode,
  documents: DocumentCache,
  signal: AbortSignal,
): Promise<ImageObservation> {
  // The records first: what they name is made before them.
  const records = await node.in.images.list([], { signal });
  const [lookup, containers] = await Promise.all([lookAtAll(node, signal), node.in.containers.list([], { signal })]);
  const warmth = new Warmth(node, documents, lookup, signal);

  // An image is pinned when one of its records is; elsewhere than in CRI nothing is collected.
  const pinned = new Set(records.flatMap(({ target, labels }) => (isPinned(labels) ? [target.digest] : [])));
  const images: NodeImage[] = [];
  for (const record of records) {
    if (isIDRecord(record.name)) continue;
    const { digest } = record.target;
    const origin = recordOrigin(record);
    images.push({ name: record.name, digest, origin, isPinned: node.namespace !== criNamespace || pinned.has(digest) });
  }

  const digests = [...new Set(records.map(({ target }) => target.digest))];
  const states = new Map<Digest, Pick<ImageState, "missing" | "top" | "createdSeconds">>();
  await sideBySide(digests, async (digest) => {
    signal.throwIfAborted();
    const state = await warmth.of(digest).catch((error: unknown) => {
      signal.throwIfAborted();
      if (isRuntimeError(error, "unavailable", "deadline-exceeded", "cancelled")) throw error;
      // What is damaged of one image says nothing about the others.
      return { missing: `it cannot be read: ${causeText(error)}`, top: undefined, createdSeconds: undefined };
    });
    states.set(digest, state);
  });
  const standing = containers.flatMap(({ id, snapshotter, snapshotKey }) =>
    snapshotter === node.snapshotter ? [{ id, snapshotKey }] : [],
  );
  if (node.namespace === dockerNamespace) standing.push(...dockerContainers(lookup.all, standing));
  const users = usersByTop(standing, lookup.all, new Set([...states.values()].map(({ top }) => top)));
  const contents = new Map<Digest, NodeContent>();
  for (const [digest, { missing, top, createdSeconds }] of states) {
    const made = createdSeconds !== undefined && createdSeconds > 0 ? { createdSeconds } : {};
    contents.set(digest, { digest, isWarm: missing === "", missing, users: users.get(top) ?? [], ...made });
  }
  return { images, contents };
}

type Standing = Pick<Container, "id" | "snapshotKey">;

/** Docker has containerd know a container only while it runs; its snapshot has its id. */
function dockerContainers(snapshots: AllSnapshots, known: readonly Standing[]): Standing[] {
  const ids = new Set(known.map(({ snapshotKey }) => snapshotKey));
  return [...snapshots].flatMap(([name, { isCommitted }]) =>
    !isCommitted && /^[0-9a-f]{64}$/.test(name) && !ids.has(name) ? [{ id: name, snapshotKey: name }] : [],
  );
}

/** Containers by the snapshots of `tops` that they stand on, however far below. */
function usersByTop(
  containers: readonly Standing[],
  snapshots: AllSnapshots,
  tops: ReadonlySet<string | undefined>,
): ReadonlyMap<string | undefined, readonly User[]> {
  const users = new Map<string | undefined, User[]>();
  for (const container of containers) {
    for (let name = container.snapshotKey; name !== ""; name = snapshots.get(name)?.parent ?? "") {
      if (!tops.has(name)) continue;
      const of = users.get(name) ?? [];
      of.push({ kind: "container", name: container.id });
      users.set(name, of);
    }
  }
  return users;
}
