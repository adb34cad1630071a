import type { Digest } from "../../../oci/descriptor.ts";
import type { Condition, DiskStatus } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { planEjection, readEjectFacts } from "../eject/eject-plan.ts";
import { injectedDisks } from "../eject/places.ts";
import { findUsers } from "../eject/users.ts";
import { type ChainLayer, plainTree } from "../inject/chain-snapshots.ts";
import { isChainComplete } from "../inject/plan.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { carrierOf, type OwnedState, readOwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { type ImageChain, readImageChain } from "./image-chain.ts";
import { type MountedState, readMount } from "./mounted-disk.ts";
import { imageConditions, layerConditions } from "./snapshot-conditions.ts";

/**
 * What is injected in a namespace, disk by disk, the newest of a line first, and what is wrong with it. Changes nothing and takes no lock: an
 * injection under way shows as it stands. Throws `RuntimeError`, `HostError`, or the reason of the signal.
 */
export async function readStatus(node: ContainerdNode, signal: AbortSignal): Promise<DiskStatus[]> {
  signal.throwIfAborted();
  const state = await readOwnedState(node);
  const ids = injectedDisks(state);
  if (ids.length === 0) return [];
  // With one disk alone there is no other that could take over.
  const alone = new Set(ids.length === 1 ? ids : []);
  const [table, facts] = await Promise.all([node.mounts.table(), readEjectFacts(node, state, alone)]);
  const disks: DiskStatus[] = [];
  for (const id of ids) {
    signal.throwIfAborted();
    const isHere = [...facts.places.values()].some((place) => place.on === "disk" && place.disk === id);
    // What another disk takes over holds nothing.
    const { going } = planEjection(facts, new Set([id]));
    const [mounted, { users }] = await Promise.all([readMount(node, state, id, table), findUsers(node, state, going)]);
    const conditions: Condition[] = [...mounted.conditions, ...(await layerConditions(node, state, id))];
    if (!isHere && carrierOf(state, id) !== undefined)
      conditions.push({
        type: "NothingLeadsHere",
        message: `no image is on this disk any more; containers that were started before may still use it (nodewarm eject ${id.slice(0, 12)})`,
      });
    const { line, sequence, source, isMounted } = mounted;
    const images = await readImages(node, state, id, mounted);
    disks.push({ id, line, sequence, source, isMounted, images, heldBy: users, conditions });
  }
  return disks.sort((a, b) => a.line.localeCompare(b.line, "en") || b.sequence - a.sequence || (a.id < b.id ? -1 : 1));
}

async function readImages(
  node: ContainerdNode,
  state: OwnedState,
  id: string,
  mounted: MountedState,
): Promise<DiskStatus["images"]> {
  const names = namesByTarget(state, id);
  const images = await Promise.all(
    [...names].map(async ([digest, targetNames]) => {
      const chain = await readImageChain(node.in.content, digest);
      const shown = targetNames.filter((name) => !name.startsWith("sha256:"));
      const layers = mounted.index?.images.find(({ target }) => target.digest === digest)?.layers;
      const known = layers ?? (chain && chainLayers(state, chain));
      const isComplete = known !== undefined && isChainComplete({ layers: known }, state, usesLayerImages(node));
      return {
        names: shown.length > 0 ? shown : targetNames,
        digest,
        chain: isComplete ? ("complete" as const) : ("pending" as const),
        conditions: await imageConditions(node, state, { disk: id, digest, names: targetNames, chain, mounted }),
      };
    }),
  );
  return images.sort((a, b) => ((a.names[0] ?? "") < (b.names[0] ?? "") ? -1 : 1));
}

/** While the disk is away: what its index would say, as far as the snapshots that are there and the config tell it. */
function chainLayers(state: OwnedState, { diffIDs, chainIDs }: ImageChain): ChainLayer[] {
  return diffIDs.flatMap((diffID, i) => {
    const chainID = chainIDs[i];
    if (chainID === undefined) return [];
    const made = state.owned.get(chainID);
    return [{ diffID, chainID, tree: made?.role === "layer" ? made.tree : plainTree(diffID) }];
  });
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
