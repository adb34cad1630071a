import type { Digest } from "../../../oci/descriptor.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import type { Snapshot } from "../client/snapshots.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { ownedSnapshot } from "../owned-state.ts";
import type { Lookup, SnapshotFacts } from "./warmth.ts";

/** All snapshots and blobs at about one moment: two lists, of which little is kept. */
export async function lookAtAll(
  node: ContainerdNode,
  signal: AbortSignal,
): Promise<Lookup & { readonly all: AllSnapshots }> {
  const [all, sizes] = await Promise.all([listFacts(node, signal), listSizes(node, signal)]);
  return {
    all,
    snapshot: async (name) => all.get(name),
    blobBytes: async (digest) => sizes.get(digest),
  };
}

export type AllSnapshots = ReadonlyMap<string, SnapshotFacts>;

/** Asks for each: for a single image. */
export function lookOneByOne(node: ContainerdNode, signal: AbortSignal): Lookup {
  return {
    snapshot: (name) => unlessMissing(node.snapshots.stat(name, { signal }).then(factsOf)),
    blobBytes: (digest) => unlessMissing(node.in.content.info(digest, { signal }).then(({ sizeBytes }) => sizeBytes)),
  };
}

async function listFacts(node: ContainerdNode, signal: AbortSignal): Promise<AllSnapshots> {
  const facts = new Map<string, SnapshotFacts>();
  for await (const snapshot of node.snapshots.list([], { signal })) facts.set(snapshot.name, factsOf(snapshot));
  return facts;
}

async function listSizes(node: ContainerdNode, signal: AbortSignal): Promise<ReadonlyMap<Digest, number>> {
  const sizes = new Map<Digest, number>();
  for await (const { digest, sizeBytes } of node.in.content.list([], { signal })) sizes.set(digest, sizeBytes);
  return sizes;
}

function factsOf(snapshot: Snapshot): SnapshotFacts {
  const { parent, kind } = snapshot;
  return { parent, isCommitted: kind === "committed", owned: ownedSnapshot(snapshot) };
}

async function unlessMissing<Found>(call: Promise<Found>): Promise<Found | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return undefined;
    throw error;
  }
}
