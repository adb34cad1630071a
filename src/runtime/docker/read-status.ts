import type { Digest } from "../../oci/descriptor.ts";
import type { Condition, DiskStatus, User } from "../runtime.ts";
import { isMounted, readMountedIndex } from "./disk-mount.ts";
import { type DiskRecord, readDiskRecords } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import { type Graph, readGraph, withLinkedDisks } from "./graph.ts";
import { imageIDDiffers } from "./image-conditions.ts";
import { stillLeftBehind, usersOf } from "./left-behind.ts";
import { isOwnTag, type OwnImage } from "./own-images.ts";
import { earlierDevice, readDiskRelease } from "./release.ts";

/** The disks of a Docker daemon, by id; those too that were ejected and are not released. */
export async function readStatus(node: DockerNode, signal: AbortSignal): Promise<DiskStatus[]> {
  const graph = await readGraph(node, signal);
  const records = withLinkedDisks(await readDiskRecords(node.store.root), graph);
  const disks: DiskStatus[] = [];
  for (const record of records.values()) {
    const status =
      record.ejected === undefined
        ? await diskStatus(node, record, graph, signal)
        : await ejectedStatus(node, record, signal);
    if (status !== undefined) disks.push(status);
  }
  return disks;
}

async function diskStatus(
  node: DockerNode,
  record: DiskRecord,
  graph: Graph,
  signal: AbortSignal,
): Promise<DiskStatus> {
  const layers = [...graph.layers.values()].filter(
    ({ state }) => state.kind === "linked" && state.link.disk === record.id,
  );
  const chainIDs = new Set(layers.map(({ chainID }) => chainID));
  const images = graph.images.filter(({ config }) => chainIDs.has(config.diffID));
  const mounted = await isMounted(node, record.id);
  const conditions: Condition[] = images.length > 0 ? [imageIDDiffers] : [];
  if (!mounted) {
    const message = `the disk is not mounted, and containers of its images cannot be started; attach it, then run "nodewarm mount --all" (it was injected from ${record.source})`;
    conditions.push({ type: "NotMounted", message });
  }
  if (mounted && (await readMountedIndex(node, record.id)) === undefined) {
    const message = `the disk is mounted and cannot be read, or another one is mounted in its place: its device is gone or broken; attach it again, then run "nodewarm mount --all" (it was injected from ${record.source})`;
    conditions.push({ type: "Unreadable", message });
  }
  return {
    id: record.id,
    line: record.line,
    sequence: record.sequence,
    source: record.source,
    isMounted: mounted,
    images: images.map((image) => ({
      names: image.tags.filter((tag) => isOwnTag(image, tag)),
      digest: image.named.get(image.id)?.target ?? image.config.config,
      chain: "complete",
      conditions: imageConditions(image),
    })),
    heldBy: distinct([
      ...[...chainIDs].flatMap((chainID: Digest) => graph.users.get(chainID) ?? []),
      ...usersOf(await stillLeftBehind(node, record, signal)),
    ]),
    conditions,
  };
}

function imageConditions(image: OwnImage): Condition[] {
  if (image.tags.length > 0) return [];
  const message = "no tag names it any more: other images have its names, or the injection was broken off";
  return [{ type: "Untagged", message }];
}

async function ejectedStatus(
  node: DockerNode,
  record: DiskRecord,
  signal: AbortSignal,
): Promise<DiskStatus | undefined> {
  const device = await earlierDevice(record);
  if (device === undefined) return undefined;
  const { isReleased, heldBy } = await readDiskRelease(node, record, device, [], signal);
  if (isReleased) return undefined;
  const { id, line, sequence, source } = record;
  const message = "the disk is ejected, but its device is still held: do not detach it before those are gone";
  return {
    id,
    line,
    sequence,
    source,
    isMounted: false,
    images: [],
    heldBy,
    conditions: [{ type: "NotReleased", message }],
  };
}

function distinct(users: readonly User[]): User[] {
  return [...new Map(users.map((user) => [`${user.kind} ${user.name}`, user])).values()];
}
