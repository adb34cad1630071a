import type { DiskIndex, IndexImage } from "../../../disk/reader/disk-index.ts";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import type { Condition } from "../../runtime.ts";
import type { Image } from "../client/images.ts";
import type { Labels } from "../client/label.ts";
import { dockerNamespace } from "../containerd-node.ts";
import type { OwnedState } from "../owned-state.ts";
import { carrierName, emptyName, label } from "../ownership.ts";
import { type ChainLayer, type ChainSnapshot, chainSnapshots } from "./chain-snapshots.ts";
import type { WantedSnapshot } from "./linked-snapshots.ts";

/** What becomes of one image record. */
export type RecordChange = { readonly name: string; readonly action: "create" | "move" };

/** What it takes to make one image usable. */
export type ImagePlan = {
  readonly image: IndexImage;
  /** The snapshot that containers stand on; `undefined` when it and all records are there, or the image has no layers. */
  readonly top: WantedSnapshot | undefined;
  /** Nothing is left to do. */
  readonly isComplete: boolean;
  readonly records: readonly RecordChange[];
  readonly conditions: readonly Condition[];
};

export type PlanOptions = {
  readonly namespace: string;
  /** Also moves tags that others have set. */
  readonly force: boolean;
  /** Documents are gone of an image that has its records: it is made as if it were new. */
  readonly lacksDocuments?: boolean;
  /** Names that are left as they are. */
  readonly keepTags?: readonly string[] | undefined;
};

/** Decides from what the namespace has; changes nothing. */
export function planImage(disk: DiskIndex, image: IndexImage, state: OwnedState, options: PlanOptions): ImagePlan {
  const conditions: Condition[] = [];
  const records: RecordChange[] = [];
  for (const name of recordNames(image, options.namespace)) {
    if (options.keepTags?.includes(name)) continue;
    const record = state.images.get(name);
    if (record === undefined) records.push({ name, action: "create" });
    else if (record.target.digest !== image.target.digest) {
      const kept = options.force ? undefined : whyKept(disk, record, state, wasInjected(disk, image, state, options));
      if (kept === undefined) records.push({ name, action: "move" });
      else
        conditions.push({
          type: "TagKept",
          message: `${name} stays at ${record.target.digest}, ${kept}; the disk has ${image.target.digest} (--force moves it)`,
        });
    }
  }
  // One that is there without the records may be collected at any moment, and is asked for again, under our lease.
  const top = topSnapshot(image);
  const isComplete = records.length === 0 && options.lacksDocuments !== true;
  const isThere = top !== undefined && isComplete && isCommitted(state, top.name);
  return {
    image,
    top: isThere ? undefined : top,
    isComplete: isComplete && (isThere || top === undefined),
    records,
    conditions,
  };
}

/**
 * Names under which CRI looks an image up: its id, each repository with the digest, its tags. The id comes first: CRI makes that record itself
 * as soon as it sees another one, and then it is not ours. Docker wants the tags alone.
 */
export function recordNames(image: IndexImage, namespace: string): string[] {
  if (namespace === dockerNamespace) return [...image.names];
  const repositories = image.names.filter((name) => !name.includes("@")).map(repositoryOf);
  const digests = repositories.map((repository) => `${repository}@${image.target.digest}`);
  return [...new Set([idRecordName(image.config.digest), ...digests, ...image.names])];
}

export function idRecordName(config: Digest): string {
  return `sha256:${digestHex(config)}`;
}

/** ChainID of all layers, the name of the snapshot that containers stand on. */
export function topChainID(image: IndexImage): Digest | undefined {
  return image.layers.at(-1)?.chainID;
}

function repositoryOf(name: string): string {
  const colon = name.lastIndexOf(":");
  return colon > name.lastIndexOf("/") ? name.slice(0, colon) : name;
}

function topSnapshot(image: IndexImage): WantedSnapshot | undefined {
  const name = topChainID(image);
  if (name === undefined || image.tree === null) return undefined;
  return { name, parent: emptyName, role: "image", tree: image.tree };
}

export function isCommitted(state: Pick<OwnedState, "snapshots">, name: string): boolean {
  return state.snapshots.get(name)?.kind === "committed";
}

/**
 * Whether an earlier call has given the image of this disk all its names, the last of which are made of repository and digest; for Docker,
 * which wants tags alone, its config tells.
 */
function wasInjected(disk: DiskIndex, image: IndexImage, state: OwnedState, { namespace }: PlanOptions): boolean {
  const isOurs = (labels: Labels | undefined) => labels?.[label.disk] === disk.id;
  if (namespace === dockerNamespace)
    return state.blobs.some(({ digest, labels }) => digest === image.config.digest && isOurs(labels));
  const names = recordNames(image, namespace).filter((name) => name.includes("@"));
  return names.length > 0 && names.every((name) => isOurs(state.images.get(name)?.labels));
}

/**
 * Why a tag with another digest is not moved; `undefined` when it is ours to move. Of two lines that both have a tag, the one that is injected
 * last gets it once: injecting both again and again does not move it to and fro.
 */
function whyKept(disk: DiskIndex, record: Image, state: OwnedState, isAgain: boolean): string | undefined {
  const owner = record.labels[label.disk];
  if (owner === undefined) return "which Nodewarm did not set";
  const labels = state.snapshots.get(carrierName(owner))?.labels;
  if (labels?.[label.line] === disk.line && Number(labels[label.sequence]) > disk.sequence)
    return `set from disk ${owner.slice(0, 12)}, the newer one of line "${disk.line}"`;
  if (isAgain && labels !== undefined && labels[label.line] !== disk.line)
    return `set from disk ${owner.slice(0, 12)} of line "${labels[label.line]}", which was injected later`;
  return undefined;
}

/** The snapshots below the tops that are not there, level by level: those of one need only those of the levels before. */
export function planChains(images: readonly IndexImage[], state: OwnedState): WantedSnapshot[][] {
  const levels: WantedSnapshot[][] = [];
  const levelOf = new Map<string, number>();
  for (const { layers } of images) {
    for (const snapshot of missingSnapshots(layers, state)) {
      if (levelOf.has(snapshot.name)) continue;
      const level = (levelOf.get(snapshot.parent) ?? -1) + 1;
      levelOf.set(snapshot.name, level);
      levels[level] ??= [];
      levels[level].push({ ...snapshot, role: "layer" });
    }
  }
  return levels;
}

/** Those that pulls look for and that are not there, and what they are to stand on, bottom first. */
function missingSnapshots(layers: readonly ChainLayer[], state: Pick<OwnedState, "snapshots">): ChainSnapshot[] {
  const chain = chainSnapshots(layers);
  const needed = new Set<string>(layers.map(({ chainID }) => chainID));
  const missing: ChainSnapshot[] = [];
  for (const snapshot of chain.toReversed()) {
    if (!needed.has(snapshot.name) || isCommitted(state, snapshot.name)) continue;
    needed.add(snapshot.parent);
    missing.push(snapshot);
  }
  return missing.reverse();
}

/**
 * Whether all snapshots below the top are there that injection makes. Where snapshots are layer images (`usesLayerImages`), none is left out
 * of a chain. Injection and status both decide by this.
 */
export function isChainComplete(
  { layers }: { readonly layers: readonly ChainLayer[] },
  state: Pick<OwnedState, "snapshots">,
  areLayerImages: boolean,
): boolean {
  if (!areLayerImages) return missingSnapshots(layers, state).length === 0;
  return layers.slice(0, -1).every(({ chainID }) => isCommitted(state, chainID));
}
