import { randomUUID } from "node:crypto";
import { lstat, mkdir, readlink, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { IndexImage, IndexLayer } from "../../../disk/reader/disk-index.ts";
import { replaceFileByLink, swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import type { Mount } from "../client/snapshots.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { layerCacheConfiguration, layerCacheFolder, layerImagePath, layerImageTarget } from "../layer-cache.ts";
import { keyPrefix, label, snapshotRefLabel } from "../ownership.ts";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import type { InjectJob } from "./job.ts";
import { topChainID } from "./plan.ts";
import { passesTo } from "./relink.ts";

/** Puts the links of all layers of the disk into the cache folder, durably. A link to another disk stays while that is there. */
export async function linkLayerImages(job: InjectJob): Promise<void> {
  const { node, atStep, open } = job;
  const { images } = open.disk.index;
  const layers = new Map(images.flatMap((image) => image.layers.map(({ diffID }) => [diffID, layerImagePath(diffID)])));
  const folders = new Set([...layers.values()].map(dirname));
  const cache = node.local(layerCacheFolder(node));
  for (const folder of folders) await mkdir(`${cache}/${folder}`, { recursive: true, mode: 0o711 });
  const disks = new Map(
    [...job.state.owned.values()].flatMap(({ role, number, disk }) => (role === "carrier" ? [[number, disk]] : [])),
  );
  let put = 0;
  await sideBySide([...layers.values()], async (path) => {
    const link = `${cache}/${path}`;
    const target = layerImageTarget(job.carrier, `erofs/${path}`);
    const before = await readlink(link).catch(() => undefined);
    if (before === target) return;
    const owner = disks.get(/^(?:\.\.\/){3}snapshots\/(\d+)\//.exec(before ?? "")?.[1] ?? "");
    if (owner !== undefined && !passesTo(job, owner) && (await isFile(link))) return;
    atStep("link layer image");
    // Where an ejection has copied the layer to the node, the disk takes over.
    if (before === undefined && (await lstat(link).catch(() => undefined))?.isFile()) {
      await replaceFileByLink(link, target);
      put++;
    } else if (await swapInLink(link, target)) put++;
  });
  if (put === 0) return;
  atStep("sync layer images");
  await syncFilesystem(cache);
}

/** Makes the chains of images of snapshots that containerd finds in its cache. Throws `RuntimeError` when it does not find them. */
export async function makeCachedSnapshots(job: InjectJob, images: readonly IndexImage[]): Promise<void> {
  const tops = new Set(images.map(topChainID));
  const seen = new Set<string>();
  for (let level = 0; images.some(({ layers }) => level < layers.length); level++) {
    const layers = images.flatMap((image) => {
      const layer = image.layers[level];
      if (layer === undefined || seen.has(layer.chainID)) return [];
      seen.add(layer.chainID);
      return [{ layer, parent: image.layers[level - 1]?.chainID ?? "" }];
    });
    await sideBySide(layers, ({ layer, parent }) =>
      makeCached(job, layer, parent, tops.has(layer.chainID) ? "image" : "layer"),
    );
  }
}

async function makeCached(job: InjectJob, layer: IndexLayer, parent: string, role: "image" | "layer"): Promise<void> {
  const { node, leased, meter, atStep, open } = job;
  const writer = leased.snapshotWriter(node.snapshotter);
  const key = `${keyPrefix}${randomUUID()}`;
  const own = { [label.role]: role, [label.disk]: open.disk.id };
  let mounts: readonly Mount[];
  atStep("prepare");
  meter.count("prepare");
  try {
    // As a pull asks for a layer (`core/unpack/unpacker.go`).
    const labels = { ...own, [snapshotRefLabel]: layer.chainID, "containerd.io/snapshot/diff-id": layer.diffID };
    mounts = await prepareSnapshot(node, writer, key, { parent, labels });
  } catch (error) {
    if (isRuntimeError(error, "already-exists")) return;
    throw error;
  }
  if (!mounts.at(-1)?.options.includes("ro")) {
    meter.count("remove");
    await writer.remove(key);
    throw notCached(node, layer);
  }
  atStep("commit");
  meter.count("commit");
  try {
    const tree = `erofs/${layerImagePath(layer.diffID)}`;
    await writer.commit(layer.chainID, key, { ...own, [label.tree]: tree });
  } catch (error) {
    if (!isRuntimeError(error, "already-exists")) throw error;
    meter.count("remove");
    await writer.remove(key);
  }
}

function notCached(node: ContainerdNode, { diffID }: IndexLayer): RuntimeError {
  return new RuntimeError(
    "failed-precondition",
    `containerd ${node.version} does not find layer ${diffID} in the layer content caches of its EROFS snapshotter; from 2.4 on it does with these lines in its configuration, after a restart:\n${layerCacheConfiguration(node)}`,
  );
}

/** Throws `RuntimeError` `failed-precondition` when the disk was built without layer images. */
export function refuseWithoutLayerImages({ disk }: InjectJob["open"]): void {
  if (disk.index.erofsCache) return;
  throw new RuntimeError(
    "failed-precondition",
    `${disk.source.name} has no layer images, which containerd's EROFS snapshotter needs; build it with --erofs-cache`,
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}
