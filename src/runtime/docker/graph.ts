import { type Digest, isDigest } from "../../oci/descriptor.ts";
import { array, object, readShape, stringThat } from "../../oci/json-shape.ts";
import type { User } from "../runtime.ts";
import type { DiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { parseJson } from "./durable-file.ts";
import type { EngineContainer, EngineImage } from "./engine-client.ts";
import type { StoredLayer, StoredMount } from "./graph-store.ts";
import { type LayerState, readLayerState } from "./layer-folder.ts";
import { isOwnTag, type OwnImage, readOwnImage } from "./own-images.ts";

/** A lowest layer that is, or is to be, a link to a disk. */
export type OwnLayer = StoredLayer & { readonly state: LayerState };

/** All that a daemon has on our layers, at one moment. */
export type Graph = {
  /** Those that are links to disks, by chainID. */
  readonly layers: ReadonlyMap<Digest, OwnLayer>;
  readonly images: readonly OwnImage[];
  /** What is not ours and stands on a layer; layers without any are left out. */
  readonly users: ReadonlyMap<Digest, readonly User[]>;
  /** Containers on a layer that run. */
  readonly running: ReadonlyMap<Digest, readonly EngineContainer[]>;
};

const imageConfig = object({ rootfs: object({ diff_ids: array(stringThat(isDigest, "a digest")) }) });

/** Reads what stands on what: from the daemon's files, as its API does not tell it of stopped containers of removed images. */
export async function readGraph(node: DockerNode, signal: AbortSignal): Promise<Graph> {
  const [allImages, containers, layers, mounts] = await Promise.all([
    node.engine.images(signal),
    node.engine.containers(signal),
    node.store.layers(),
    node.store.mounts(),
  ]);
  const own = new Map<Digest, OwnLayer>();
  for (const layer of layers.filter(({ parent }) => parent === undefined)) {
    const state = await readLayerState(layer.folder).catch(() => undefined);
    if (state?.kind === "linked") own.set(layer.chainID, { ...layer, state });
  }
  const images: OwnImage[] = [];
  const others: EngineImage[] = [];
  for (const image of allImages) {
    const found = await readOwnImage(node.store, image);
    if (found === undefined) others.push(image);
    else images.push(found);
  }
  const base = baseFinder(layers);
  const running = runningOn(mounts, containers, base);
  const users = new Map<Digest, User[]>();
  const add = (layer: Digest | undefined, user: User): void => {
    if (layer !== undefined && own.has(layer)) users.set(layer, [...(users.get(layer) ?? []), user]);
  };
  for (const mount of mounts) add(mount.parent && base(mount.parent), userOf(mount, containers));
  for (const image of others) add(await lowestLayer(node, image), { kind: "image", name: image.tags[0] ?? image.id });
  for (const image of images) {
    for (const tag of image.tags.filter((each) => !isOwnTag(image, each)))
      add(image.config.diffID, { kind: "image", name: tag });
  }
  // Such as the cache of a build.
  for (const layer of layers) {
    const below = base(layer.chainID);
    if (below !== layer.chainID && below !== undefined && !users.has(below))
      add(below, { kind: "snapshot", name: layer.chainID });
  }
  return { layers: own, images, users, running };
}

/** Disks that layers lead to are known without a record of theirs too, should it be lost. */
export function withLinkedDisks(records: ReadonlyMap<string, DiskRecord>, { layers }: Graph): Map<string, DiskRecord> {
  const all = new Map(records);
  for (const { state } of layers.values()) {
    if (state.kind !== "linked" || all.has(state.link.disk)) continue;
    const id = state.link.disk;
    all.set(id, { formatVersion: "1", id, line: "", sequence: 0, source: "/", leftBehind: [] });
  }
  return all;
}

/** Of any layer the lowest below it, or itself. */
function baseFinder(layers: readonly StoredLayer[]): (chainID: Digest) => Digest | undefined {
  const parents = new Map(layers.map(({ chainID, parent }) => [chainID, parent]));
  return (chainID) => {
    let lowest: Digest | undefined = chainID;
    // A circle is impossible for names that are hashes; a damaged store ends the walk.
    for (let steps = 0; steps <= parents.size; steps++) {
      const parent = parents.get(lowest);
      if (parent === undefined) return parents.has(lowest) ? lowest : undefined;
      lowest = parent;
    }
    return undefined;
  };
}

function runningOn(
  mounts: readonly StoredMount[],
  containers: readonly EngineContainer[],
  base: (chainID: Digest) => Digest | undefined,
): Map<Digest, EngineContainer[]> {
  const running = new Map<Digest, EngineContainer[]>();
  for (const { id, parent } of mounts) {
    const layer = parent && base(parent);
    const container = containers.find((each) => each.id === id);
    if (layer === undefined || container?.isRunning !== true) continue;
    running.set(layer, [...(running.get(layer) ?? []), container]);
  }
  return running;
}

function userOf({ id }: StoredMount, containers: readonly EngineContainer[]): User {
  const container = containers.find((each) => each.id === id);
  return container === undefined ? { kind: "snapshot", name: id } : { kind: "container", name: container.name };
}

/** ChainID of the lowest layer of an image that is not ours: its diffID. */
async function lowestLayer({ store }: DockerNode, { id }: EngineImage): Promise<Digest | undefined> {
  const bytes = await store.imageConfig(id);
  return readShape(imageConfig, parseJson(bytes?.toString() ?? "")).value?.rootfs.diff_ids[0];
}
