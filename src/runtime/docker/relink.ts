import type { DiskSource } from "../host/disk-source.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import type { OpenDisk } from "../runtime.ts";
import type { DiskLink } from "./disk-link.ts";
import { writeDiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { type OwnLayer, readGraph } from "./graph.ts";
import { linkLayer } from "./layer-folder.ts";
import { leftBehindOn, mergeLeftBehind } from "./left-behind.ts";
import type { Before } from "./plan-images.ts";

/** Whether a tree that a link finds on another disk is to be taken from this one: it is newer, or the other is not there. */
export function mayTakeOver(
  link: DiskLink,
  { id, line, sequence }: Pick<DiskSource, "id" | "line" | "sequence">,
  { records, mounted }: Pick<Before, "records" | "mounted">,
): boolean {
  if (link.disk === id) return false;
  const other = records.get(link.disk);
  if (other === undefined || other.ejected !== undefined || !mounted.has(link.disk)) return true;
  return other.line === line && other.sequence < sequence;
}

/** Leads to this disk what it and older ones hold; containers that run keep the old ones. Durable when it returns. */
export async function relinkToNewer(
  node: DockerNode,
  { disk, source }: OpenDisk,
  before: Before,
  signal: AbortSignal,
): Promise<void> {
  if (![...before.records.keys()].some((id) => mayTakeOver({ disk: id, tree: "" }, source, before))) return;
  const trees = new Set(disk.index.images.map(({ tree }) => tree));
  const graph = await readGraph(node, signal);
  const layers = [...graph.layers.values()].filter(
    ({ state }) => state.kind === "linked" && trees.has(state.link.tree) && mayTakeOver(state.link, source, before),
  );
  if (layers.length === 0) return;
  await writeLeftBehind(node, graph.running, layers, before, signal);
  for (const { folder, state } of layers) {
    signal.throwIfAborted();
    if (state.kind === "linked") await linkLayer(folder, { disk: disk.id, tree: state.link.tree });
  }
  await syncFilesystem(node.store.root);
}

/** Writes down, in the records of their disks, the containers that run on layers which are about to lead elsewhere. */
export async function writeLeftBehind(
  node: DockerNode,
  running: Awaited<ReturnType<typeof readGraph>>["running"],
  layers: readonly OwnLayer[],
  { records }: Pick<Before, "records">,
  signal: AbortSignal,
): Promise<void> {
  for (const record of records.values()) {
    const moved = layers.filter(({ state }) => state.kind === "linked" && state.link.disk === record.id);
    const chainIDs = moved.map(({ chainID }) => chainID);
    const found = await leftBehindOn(node, running, chainIDs, signal);
    if (found.length === 0) continue;
    await writeDiskRecord(node.store.root, { ...record, leftBehind: mergeLeftBehind(record.leftBehind, found) });
  }
}
