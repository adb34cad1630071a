import type { Digest } from "../../../oci/descriptor.ts";
import type { Condition, DiskStatus, User } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, type OwnedState, readOwnedState } from "../owned-state.ts";
import { label, sharedOwner } from "../ownership.ts";
import { readImageChain } from "./image-chain.ts";
import { type MountedState, readMount } from "./mounted-disk.ts";
import { imageConditions, layerConditions } from "./snapshot-conditions.ts";
import { findUsers } from "./users.ts";

/**
 * What is injected in a namespace, disk by disk, the newest of a line first, and what is wrong with it. Changes nothing and takes no lock: an
 * injection under way shows as it stands. Throws `RuntimeError`, `HostError`, or the reason of the signal.
 */
export async function readStatus(node: ContainerdNode, signal: AbortSignal): Promise<DiskStatus[]> {
  signal.throwIfAborted();
  const state = await readOwnedState(node);
  const [users, table] = await Promise.all([findUsers(node, state), node.mounts.table()]);
  const disks: DiskStatus[] = [];
  for (const id of diskIDs(state)) {
    signal.throwIfAborted();
    const carrier = carrierOf(state, id);
    const mounted = await readMount(node, state, id, table);
    const { images, isEmpty } = await readImages(node, state, id, mounted);
    const conditions: Condition[] = [...mounted.conditions, ...(await layerConditions(node, state, id))];
    if (isEmpty && carrier !== undefined)
      conditions.push({
        type: "NothingLeadsHere",
        message: `no image is on this disk any more; containers that were started before may still use it (nodewarm eject ${id.slice(0, 12)})`,
      });
    const heldBy: readonly User[] = users.get(id) ?? [];
    const { line, sequence, source, isMounted } = mounted;
    disks.push({ id, line, sequence, source, isMounted, images, heldBy, conditions });
  }
  return disks.sort((a, b) => a.line.localeCompare(b.line, "en") || b.sequence - a.sequence || (a.id < b.id ? -1 : 1));
}

/** Of carriers, and of whatever else says that it is from a disk: half an injection, or half an ejection, shows too. */
function diskIDs(state: OwnedState): string[] {
  const ids = new Set([...state.owned.values()].map(({ disk }) => disk));
  for (const { labels } of [...state.blobs, ...state.images.values()]) {
    const id = labels[label.disk];
    if (id !== undefined) ids.add(id);
  }
  ids.delete(sharedOwner);
  return [...ids].filter((id) => /^[0-9a-f]{64}$/.test(id));
}

async function readImages(
  node: ContainerdNode,
  state: OwnedState,
  id: string,
  mounted: MountedState,
): Promise<{ readonly images: DiskStatus["images"]; readonly isEmpty: boolean }> {
  const names = namesByTarget(state, id);
  const images = await Promise.all(
    [...names].map(async ([digest, targetNames]) => {
      const chain = await readImageChain(node.in.content, digest);
      const shown = targetNames.filter((name) => !name.startsWith("sha256:"));
      const lower = chain?.chainIDs.slice(0, chain.lowerCount) ?? [];
      const isComplete = chain !== undefined && lower.every((name) => state.snapshots.get(name)?.kind === "committed");
      return {
        names: shown.length > 0 ? shown : targetNames,
        digest,
        chain: isComplete ? ("complete" as const) : ("pending" as const),
        conditions: await imageConditions(node, state, { disk: id, digest, names: targetNames, chain, mounted }),
      };
    }),
  );
  images.sort((a, b) => ((a.names[0] ?? "") < (b.names[0] ?? "") ? -1 : 1));
  const isEmpty = ![...state.owned.values()].some(({ disk, tree }) => disk === id && tree !== "");
  return { images, isEmpty };
}

/**
 * The images of a disk with all their names. A pull replaces the labels of the tag's record, so what tells an image as ours is any one of its
 * records, or its target among our blobs.
 */
function namesByTarget(state: OwnedState, id: string): Map<Digest, string[]> {
  const ours = new Set<Digest>(
    state.blobs.flatMap(({ digest, labels }) => (labels[label.disk] === id ? [digest] : [])),
  );
  for (const { target, labels } of state.images.values()) if (labels[label.disk] === id) ours.add(target.digest);
  const names = new Map<Digest, string[]>();
  for (const { name, target } of state.images.values()) {
    if (!ours.has(target.digest)) continue;
    const of = names.get(target.digest) ?? [];
    of.push(name);
    names.set(target.digest, of);
  }
  for (const of of names.values()) of.sort();
  return names;
}
