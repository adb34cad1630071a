import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import type { Condition } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { recordNames } from "../inject/plan.ts";
import { carrierOf, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import type { ImageChain } from "./image-chain.ts";
import type { MountedState } from "./mounted-disk.ts";
import { type LinkState, readLink } from "./snapshot-link.ts";

type StatusImage = {
  readonly disk: string;
  readonly digest: Digest;
  /** Of all its records. */
  readonly names: readonly string[];
  readonly chain: ImageChain | undefined;
  readonly mounted: MountedState;
};

const again = "inject the disk again";

/** What keeps an image of a disk from being used as after a pull. What is wrong with the disk as a whole is not repeated. */
export async function imageConditions(
  node: ContainerdNode,
  state: OwnedState,
  { disk, digest, names, chain, mounted }: StatusImage,
): Promise<Condition[]> {
  const conditions: Condition[] = [];
  const indexed = mounted.index?.images.find(({ target }) => target.digest === digest);
  if (indexed !== undefined) conditions.push(...recordConditions(node, state, indexed, names));
  if (chain === undefined) {
    const message = `its manifest or config is not in the content store; ${again}`;
    return [...conditions, { type: "ContentMissing", message }];
  }
  const top = chain.chainIDs.at(-1);
  if (top === undefined) return conditions;
  const snapshot = state.owned.get(top);
  if (snapshot === undefined) {
    // One that somebody pulled or built is as good.
    if (state.snapshots.get(top)?.kind !== "committed")
      conditions.push({ type: "SnapshotMissing", message: `its snapshot ${top} is gone; ${again}` });
    return conditions;
  }
  const condition = await linkCondition(node, state, snapshot, mounted.isMounted);
  if (condition !== undefined) conditions.push(condition);
  if (snapshot.disk !== disk)
    conditions.push({ type: "OnOtherDisk", message: `containers are started from disk ${snapshot.disk.slice(0, 12)}` });
  return conditions;
}

/** Of the snapshots below the tops: pulls of other images stand on them. */
export async function layerConditions(node: ContainerdNode, state: OwnedState, disk: string): Promise<Condition[]> {
  const carrier = carrierOf(state, disk);
  const layers = [...state.owned.values()].filter((each) => each.disk === disk && each.role === "layer");
  const links = await Promise.all(layers.map((each) => readLink(node, each, carrier)));
  const broken = layers.filter((_, i) => isBroken(links[i] ?? "missing"));
  if (broken.length === 0) return [];
  const [{ name } = { name: "" }] = broken;
  const others = broken.length === 1 ? "" : ` and ${broken.length - 1} more`;
  return [{ type: "LayerBroken", message: `layer ${name}${others} does not lead to the disk; ${again}` }];
}

function isBroken(link: LinkState): boolean {
  return link === "folder" || link === "missing" || link === "elsewhere";
}

async function linkCondition(
  node: ContainerdNode,
  state: OwnedState,
  snapshot: OwnedSnapshot,
  isMounted: boolean,
): Promise<Condition | undefined> {
  const link = await readLink(node, snapshot, carrierOf(state, snapshot.disk));
  const path = `${node.snapshotsFolder}/${snapshot.number}/fs`;
  switch (link) {
    case "disk":
      return undefined;
    case "node":
      return { type: "Materialized", message: "it was copied to the node and does not need the disk" };
    case "folder":
      return {
        type: "LinkReplaced",
        message: `${path} is a plain folder where the link to the disk should be, as after a power cut: containers would start with its content; ${again}`,
      };
    case "missing":
      return { type: "LinkMissing", message: `${path} is gone; ${again}` };
    case "elsewhere":
      return {
        type: "LinkElsewhere",
        message: `${path} does not lead to folder ${snapshot.tree} of its disk; ${again}`,
      };
    case "dangling":
      if (!isMounted) return undefined;
      return {
        type: "LinkDangling",
        message: `${path} leads to ${snapshot.tree}, which the mounted disk does not have; ${again}`,
      };
  }
}

function recordConditions(
  node: ContainerdNode,
  state: OwnedState,
  image: IndexImage,
  names: readonly string[],
): Condition[] {
  return recordNames(image, node.namespace).flatMap((name): Condition[] => {
    if (names.includes(name)) return [];
    const record = state.images.get(name);
    if (record === undefined) return [{ type: "RecordMissing", message: `the name ${name} was removed; ${again}` }];
    const message = `${name} is ${record.target.digest} on this node; injecting with --force moves it`;
    return [{ type: "TagMoved", message }];
  });
}
