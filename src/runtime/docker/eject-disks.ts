import { setTimeout as sleep } from "node:timers/promises";
import type { Digest } from "../../oci/descriptor.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import type { EjectOptions, EjectReport, User } from "../runtime.ts";
import { isRuntimeError, RuntimeError } from "../runtime-error.ts";
import { lockDaemon } from "./daemon-lock.ts";
import { unmountForDaemon } from "./disk-mount.ts";
import { type DiskRecord, readDiskRecords, removeDiskRecord, writeDiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { type Graph, type OwnLayer, readGraph, withLinkedDisks } from "./graph.ts";
import { linkLayer } from "./layer-folder.ts";
import { materializeLayer, requireLayerRoom } from "./materialize.ts";
import { findOtherHolder } from "./other-holders.ts";
import type { OwnImage } from "./own-images.ts";
import { earlierDevice, readBootID, readDiskRelease, shownDevice } from "./release.ts";
import { writeLeftBehind } from "./relink.ts";

/** A point at which a test may end the work. */
export type AtStep = (step: "relink" | "materialize" | "remove" | "unmount" | "record") => void;

const pollMs = 500;

type EjectedDisk = EjectReport["disks"][number];

/**
 * Takes disks from a Docker daemon: what another disk holds too is led there, what is in use is refused or copied, all other images of ours
 * are removed, and the mount at last. Throws `RuntimeError` (`not-found` for an id that is not injected), `HostError`, or the reason of the signal.
 */
export async function ejectDisks(
  node: DockerNode,
  options: EjectOptions,
  atStep: AtStep = () => {},
): Promise<EjectReport> {
  for (let said = ""; ; ) {
    const outcome = await tryEject(node, options, atStep);
    if ("disks" in outcome) return outcome;
    const { users } = outcome;
    if (!options.wait) throw inUse(users);
    const text = JSON.stringify(users);
    if (text !== said) options.onEvent?.({ type: "waiting", users });
    said = text;
    await sleep(pollMs, undefined, { signal: options.signal }).catch(() => {});
    options.signal.throwIfAborted();
  }
}

/** The lock is held for one try only: whoever injects need not wait for containers to end. */
async function tryEject(
  node: DockerNode,
  options: EjectOptions,
  atStep: AtStep,
): Promise<EjectReport | { readonly users: readonly User[] }> {
  const { signal } = options;
  await using _ = await lockDaemon(node.store.root, signal);
  const graph = await readGraph(node, signal);
  const records = withLinkedDisks(await readDiskRecords(node.store.root), graph);
  const going = chooseDisks(records, options.disks);
  const layers = [...graph.layers.values()].filter(
    ({ state }) => state.kind === "linked" && going.has(state.link.disk),
  );
  const moves = await findMoves(node, graph, layers, records, going);
  const staying = layers.filter(({ chainID }) => !moves.has(chainID));
  const used = staying.filter(({ chainID }) => graph.users.has(chainID));
  if (used.length > 0 && !options.materialize) {
    return { users: distinct(used.flatMap(({ chainID }) => graph.users.get(chainID) ?? [])) };
  }

  await requireLayerRoom(node, used, signal);
  await writeLeftBehind(
    node,
    graph.running,
    [...layers.filter((layer) => moves.has(layer.chainID)), ...used],
    { records },
    signal,
  );
  for (const [chainID, disk] of moves) {
    const layer = graph.layers.get(chainID);
    atStep("relink");
    if (layer?.state.kind === "linked") await linkLayer(layer.folder, { disk, tree: layer.state.link.tree });
  }
  await syncFilesystem(node.store.root);
  for (const { folder, state, chainID } of used) {
    if (state.kind !== "linked") continue;
    atStep("materialize");
    options.onEvent?.({ type: "materializing", snapshot: chainID, tree: state.link.tree });
    await materializeLayer(node, folder, state.link, signal);
  }
  if (used.length > 0) await syncFilesystem(node.store.root);
  const kept = new Set(used.map(({ chainID }) => chainID));
  const unfinished = graph.images.filter(({ layer }) => layer.kind === "placeholder");
  await removeImages(node, unfinished, signal, atStep);

  const disks: EjectedDisk[] = [];
  for (const record of going.values()) {
    const ofDisk = (layer: OwnLayer): boolean => layer.state.kind === "linked" && layer.state.link.disk === record.id;
    const own = staying.filter(ofDisk);
    const gone = new Set(own.map(({ chainID }) => chainID).filter((chainID) => !kept.has(chainID)));
    const images = graph.images.filter(({ config }) => gone.has(config.diffID));
    await removeImages(node, images, signal, atStep);
    const materialized = used.filter(ofDisk).length;
    disks.push({
      id: record.id,
      removedImages: images.length,
      materialized,
      ...(await releaseDisk(node, record, signal, atStep)),
    });
  }
  return { disks };
}

function chooseDisks(
  records: ReadonlyMap<string, DiskRecord>,
  ids: readonly string[] | undefined,
): Map<string, DiskRecord> {
  if (ids === undefined) return new Map(records);
  return new Map(
    ids.map((id) => {
      const record = records.get(id);
      if (record !== undefined) return [id, record];
      const known = [...records.keys()].join(", ");
      throw new RuntimeError(
        "not-found",
        `disk ${id} is not injected into this Docker; ${known === "" ? "no disk is" : `these are: ${known}`}`,
      );
    }),
  );
}

/** Layers that a disk which stays holds too, with all our images on them; to the id of that disk. */
async function findMoves(
  node: DockerNode,
  graph: Graph,
  layers: readonly OwnLayer[],
  records: ReadonlyMap<string, DiskRecord>,
  going: ReadonlyMap<string, DiskRecord>,
): Promise<Map<Digest, string>> {
  const staying = [...records.values()].filter(({ id, ejected }) => !going.has(id) && ejected === undefined);
  const moves = new Map<Digest, string>();
  if (staying.length === 0) return moves;
  for (const { chainID, state } of layers) {
    const images = graph.images.filter(({ config }) => config.diffID === chainID);
    const configs = images.map(({ config }) => config.config);
    const disk = state.kind === "linked" && (await findOtherHolder(node, staying, state.link.tree, configs));
    if (disk) moves.set(chainID, disk);
  }
  return moves;
}

/** By its tags one after the other, never by force: should a container be made meanwhile, Docker keeps the image. */
async function removeImages(
  node: DockerNode,
  images: readonly OwnImage[],
  signal: AbortSignal,
  atStep: AtStep,
): Promise<void> {
  for (const { id, tags } of images) {
    for (const name of tags.length === 0 ? [id] : tags) {
      atStep("remove");
      signal.throwIfAborted();
      await node.engine.remove(name, signal).catch((error: unknown) => {
        if (!isRuntimeError(error, "failed-precondition")) throw error;
        throw new RuntimeError(
          "failed-precondition",
          `${name} came into use while its disk was being ejected; run it again (${error.message})`,
          { cause: error },
        );
      });
    }
  }
}

async function releaseDisk(
  node: DockerNode,
  before: DiskRecord,
  signal: AbortSignal,
  atStep: AtStep,
): Promise<Pick<EjectedDisk, "isReleased" | "heldBy">> {
  atStep("unmount");
  const { root } = node.store;
  const { id } = before;
  // Written to since it was read.
  const record = (await readDiskRecords(root)).get(id) ?? before;
  const unmounted = await unmountForDaemon(node, id, signal);
  const device = unmounted.device ?? (await earlierDevice(record)) ?? (await shownDevice(id));
  const known = [...unmounted.otherRuntimes, ...unmounted.processes];
  const release = await readDiskRelease(node, record, device, known, signal);
  atStep("record");
  // What other runtimes hold is theirs to tell.
  const waits = !release.isReleased && device !== undefined && unmounted.otherRuntimes.length === 0;
  if (waits) {
    const ejected = { ...device.number, ...(device.file && { file: device.file }), boot: await readBootID() };
    await writeDiskRecord(root, { ...record, ejected });
  } else await removeDiskRecord(root, id);
  return release;
}

function inUse(users: readonly User[]): RuntimeError {
  const names = users.map(({ kind, name }) => `${kind} ${name}`);
  const shown = names.length > 20 ? [...names.slice(0, 20), `${names.length - 20} more`] : names;
  return new RuntimeError(
    "failed-precondition",
    `in use: ${shown.join(", ")}. Remove them, wait for their end with --wait, or have the files copied to this node with --materialize`,
  );
}

function distinct(users: readonly User[]): User[] {
  return [...new Map(users.map((user) => [`${user.kind} ${user.name}`, user])).values()];
}
