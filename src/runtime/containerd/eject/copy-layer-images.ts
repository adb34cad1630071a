import { copyFile, lstat, readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { notMounted, requireRoom } from "../../copy-room.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { EjectOptions } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { layerCacheFolder, usesLayerImages } from "../layer-cache.ts";
import { lockLayerImages } from "../node-lock.ts";
import { carrierOf, fsPath, type OwnedState } from "../owned-state.ts";
import { type LayerLink, layerImageOf, layerLinkPath } from "./layer-links.ts";

/** Ends the name of a copy that is not complete. */
const partSuffix = ".nodewarm-part";
/** Ends that of a copy while it is looked whether anything uses it. */
const unusedSuffix = ".nodewarm-unused";

type Job = {
  readonly node: ContainerdNode;
  readonly state: Pick<OwnedState, "owned">;
  readonly options: Pick<EjectOptions, "signal">;
  readonly atStep: AtStep;
};

/**
 * Puts files in the place of links to layer images, where containerd's EROFS snapshotter has noted their path: what mounts a layer from then
 * on gets the copy, what is mounted keeps the image on the disk. Each copy is durable before it takes its place. Throws `RuntimeError`:
 * `failed-precondition` when the disk is not mounted, `resource-exhausted` when there is no room.
 */
export async function copyLayerImages(
  { node, state, options, atStep }: Job,
  links: readonly LayerLink[],
): Promise<void> {
  if (links.length === 0) return;
  const sources = links.map(({ image, disk }) => {
    // Not through the link, which leads there only as containerd sees it.
    const from = node.local(`${fsPath(node, carrierOf(state, disk)?.number ?? "")}/erofs/${image}`);
    return { image, disk, from, what: `the layer image ${image}` };
  });
  const folder = layerCacheFolder(node);
  await using _ = await lockLayerImages(node, options.signal);
  // Calls that were killed left them, and they take room.
  await removeParts(node);
  await requireRoom(sources, { folder, local: node.local(folder) }, options.signal);
  try {
    for (const { image, disk, from, what } of sources) {
      options.signal.throwIfAborted();
      atStep("copy-layer-image");
      await copyFile(from, `${layerLinkPath(node, image)}${partSuffix}`).catch((cause: unknown) => {
        throw errorCode(cause) === "ENOENT" ? notMounted(what, disk, cause) : cause;
      });
    }
  } catch (error) {
    await removeParts(node);
    throw error;
  }
  atStep("sync-layer-images");
  await syncFilesystem(node.local(folder));
  for (const { image } of sources) {
    atStep("swap-layer-image");
    const path = layerLinkPath(node, image);
    await rename(`${path}${partSuffix}`, path);
  }
  await syncFilesystem(node.local(folder));
}

async function removeParts(node: ContainerdNode): Promise<void> {
  for (const image of await listLayerImages(node))
    if (image.endsWith(partSuffix)) await rm(layerLinkPath(node, image), { force: true });
}

/** Layer images that were copied to the node: files where there are links otherwise. */
export async function copiedLayerImages(node: Pick<ContainerdNode, "snapshotsFolder" | "local">): Promise<Set<string>> {
  const copied = new Set<string>();
  for (const image of await listLayerImages(node)) {
    const stats = await lstat(layerLinkPath(node, image)).catch(() => undefined);
    if (stats?.isFile() && image.endsWith(".erofs")) copied.add(image);
  }
  return copied;
}

/**
 * Removes copies that no snapshot of any namespace was made of, as the last image that had the layer is gone, and incomplete ones. containerd
 * does not: it takes the folder for an operator's. Pulls go on meanwhile, so a copy is first taken out of their sight, and put back when one has
 * found it before.
 */
export async function removeUnusedLayerImages(node: ContainerdNode, signal: AbortSignal): Promise<void> {
  if (!usesLayerImages(node)) return;
  await using _ = await lockLayerImages(node, signal);
  const path = (image: string) => layerLinkPath(node, image);
  const images = await listLayerImages(node);
  await removeParts(node);
  const copied = await copiedLayerImages(node);
  const isLeft = images.some((image) => image.endsWith(unusedSuffix) || image.endsWith(partSuffix));
  if (copied.size === 0 && !isLeft) return;
  const unused = copied.difference(await usedLayerImages(node));
  for (const image of unused) await rename(path(image), path(image) + unusedSuffix);
  const used = await usedLayerImages(node);
  for (const image of await listLayerImages(node)) {
    const name = image.replace(unusedSuffix, "");
    if (image.endsWith(unusedSuffix) && used.has(name)) await rename(path(image), path(name));
    else if (image.endsWith(unusedSuffix)) await rm(path(image), { force: true });
  }
  // Empty ones only.
  for (const folder of [...new Set(images.map(dirname)), "sha256", "."]) await rmdir(path(folder)).catch(() => {});
}

async function usedLayerImages(node: ContainerdNode): Promise<Set<string>> {
  const used = new Set<string>();
  for (const { name } of await node.client.namespaces.list())
    for await (const snapshot of node.client.withNamespace(name).snapshots(node.snapshotter).list())
      used.add(layerImageOf(node, snapshot) ?? "");
  return used;
}

/** Paths of all that lies in the cache folder, as `LayerLink.image`. */
async function listLayerImages(node: Pick<ContainerdNode, "snapshotsFolder" | "local">): Promise<string[]> {
  const folder = `${node.local(layerCacheFolder(node))}/sha256`;
  const found: string[] = [];
  for (const part of await readdir(folder).catch(() => []))
    for (const name of await readdir(`${folder}/${part}`).catch(() => [])) found.push(`sha256/${part}/${name}`);
  return found;
}
