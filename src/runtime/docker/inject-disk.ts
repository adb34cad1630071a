import { areaKind } from "../../disk/files-format.ts";
import { verifyAreas } from "../../disk/reader/verify-areas.ts";
import type { Digest } from "../../oci/descriptor.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { syncFilesystem } from "../host/sync-filesystem.ts";
import type { InjectedImage, InjectOptions, InjectReport, OpenDisk } from "../runtime.ts";
import { isRuntimeError, RuntimeError } from "../runtime-error.ts";
import { lockDaemon } from "./daemon-lock.ts";
import { mountForDaemon, recordOf } from "./disk-mount.ts";
import { readDiskRecords, writeDiskRecord } from "./disk-records.ts";
import type { DockerNode } from "./docker-node.ts";
import type { EngineImage } from "./engine-client.ts";
import { imageIDDiffers } from "./image-conditions.ts";
import { addNamedImage, linkLayer, type NamedImage, readLayerState } from "./layer-folder.ts";
import { type Before, type ImagePlan, planImage } from "./plan-images.ts";
import { mayTakeOver, relinkToNewer } from "./relink.ts";
import { makeArchive, type SyntheticImage } from "./synthetic-image.ts";

/** A point at which a test may end the work. */
export type AtStep = (step: "mount" | "load" | "link" | "sync" | "tag") => void;

/** A load is a sync and a process of the daemon, which has little to gain from more of them at once. */
const batchesAtOnce = 3;
const imagesPerBatch = 4;
/** For an image that something removes while it has no tag, such as `docker image prune`. */
const maxTries = 3;

type Job = {
  readonly node: DockerNode;
  readonly open: OpenDisk;
  readonly options: InjectOptions;
  readonly before: Before;
  readonly atStep: AtStep;
  calls: number;
};

/**
 * Makes the images of a disk usable in a Docker daemon. Each becomes an image of one synthetic layer, which is loaded without a name, linked
 * to the image's tree, made durable, and named only then. Throws `RuntimeError`, `HostError`, `DiskError`, or the reason of the signal.
 */
export async function injectDisk(
  node: DockerNode,
  open: OpenDisk,
  options: InjectOptions,
  atStep: AtStep = () => {},
): Promise<InjectReport> {
  const { disk, source } = open;
  const { signal, images: wantedNames } = options;
  const started = performance.now();
  await verifyAreas(disk, [areaKind.index], signal, "build the disk again");
  await using _ = await lockDaemon(node.store.root, signal);
  const before = await readBefore(node, signal);
  const { records } = before;
  // Before the mount, so that whoever ejects knows of it.
  await writeDiskRecord(node.store.root, await recordOf(source, records.get(source.id)));
  await mountForDaemon(node, source, signal);
  atStep("mount");

  const wanted = disk.index.images.filter(
    ({ names }) => wantedNames === undefined || names.some((name) => wantedNames.includes(name)),
  );
  const plans: ImagePlan[] = [];
  for (const image of wanted) plans.push(await planImage(node, disk, image, before, options));
  const job: Job = { node, open, options, before, atStep, calls: 0 };
  await relinkToNewer(node, open, before, signal);
  const done = await injectAll(job, plans);
  const usable = (performance.now() - started) / 1000;
  return {
    disk: disk.id,
    images: plans.map((plan) => done.get(plan) ?? notInjected(plan)),
    conditions: done.size > 0 ? [imageIDDiffers] : [],
    calls: job.calls,
    transactions: job.calls,
    seconds: { usable, chains: 0 },
  };
}

async function injectAll(job: Job, plans: readonly ImagePlan[]): Promise<Map<ImagePlan, InjectedImage>> {
  const done = new Map<ImagePlan, InjectedImage>();
  const finish = (plan: ImagePlan, result: InjectedImage["result"]): void => {
    const { names, target } = plan.image;
    const { conditions } = plan;
    const image: InjectedImage = { names, digest: target.digest, result, chain: "complete", conditions };
    done.set(plan, image);
    job.options.onEvent?.({ type: "image-usable", image });
  };
  const open: ImagePlan[] = [];
  for (const plan of plans) {
    if (plan.work === undefined) continue;
    if (await isComplete(job, plan)) finish(plan, "present");
    else open.push(plan);
  }
  const batches = inBatches(open);
  let failure: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (let batch = batches.shift(); batch !== undefined && failure === undefined; batch = batches.shift()) {
      try {
        await injectBatch(job, batch);
        for (const plan of batch) finish(plan, "injected");
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  // Whoever fails waits for the others, which work under the same lock.
  await Promise.all(Array.from({ length: batchesAtOnce }, work));
  const failed: { readonly error: unknown } | undefined = failure;
  if (failed !== undefined) throw failed.error;
  return done;
}

/** Images on one tree share a layer, and are in one batch. */
function inBatches(plans: readonly ImagePlan[]): ImagePlan[][] {
  const byTree = new Map<string | null, ImagePlan[]>();
  for (const plan of plans) byTree.set(plan.image.tree, [...(byTree.get(plan.image.tree) ?? []), plan]);
  const batches: ImagePlan[][] = [];
  for (const group of byTree.values()) {
    // The first image need not wait for others.
    const last = batches.length > 1 ? batches.at(-1) : undefined;
    if (last !== undefined && last.length + group.length <= imagesPerBatch) last.push(...group);
    else batches.push([...group]);
  }
  return batches;
}

/** Whether image, link, our record of the names and the tags are all as they should be. */
async function isComplete({ node, before, open }: Job, { work }: ImagePlan): Promise<boolean> {
  if (work === undefined || work.missingNames.length > 0 || !before.images.has(work.synthetic.id)) return false;
  const folder = await node.store.layerFolder(work.synthetic.layer.diffID);
  if (folder === undefined) return false;
  const state = await readLayerState(folder);
  return state.kind === "files" || (state.kind === "linked" && !mayTakeOver(state.link, open.source, before));
}

async function injectBatch(job: Job, batch: readonly ImagePlan[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await tryBatch(job, batch, tries > 1);
    } catch (error) {
      if (tries === maxTries || !isRuntimeError(error, "not-found")) throw error;
    }
  }
}

async function tryBatch(job: Job, batch: readonly ImagePlan[], again: boolean): Promise<void> {
  const { node, before, atStep } = job;
  const { signal } = job.options;
  const work = batch.flatMap((plan) => (plan.work === undefined ? [] : [{ image: plan.image, ...plan.work }]));
  const missing = work.filter(({ synthetic }) => again || !before.images.has(synthetic.id));
  signal.throwIfAborted();
  if (missing.length > 0) {
    job.calls++;
    await node.engine.load(makeArchive(missing.map(({ synthetic }) => synthetic)), signal);
  }
  atStep("load");
  for (const { image, synthetic, names } of work) {
    await linkImage(job, synthetic, { target: image.target.digest, names });
  }
  atStep("sync");
  await syncFilesystem(node.store.root);
  for (const { synthetic, missingNames } of work) {
    for (const name of missingNames) {
      atStep("tag");
      signal.throwIfAborted();
      job.calls++;
      await node.engine.tag(synthetic.id, name, signal);
    }
  }
}

async function linkImage(
  { node, open, before, atStep }: Job,
  { id, layer }: SyntheticImage,
  named: NamedImage,
): Promise<void> {
  const folder = await node.store.layerFolder(layer.diffID);
  if (folder === undefined) throw new RuntimeError("not-found", `${id} was removed from Docker while it was injected`);
  await addNamedImage(folder, id, named);
  atStep("link");
  const state = await readLayerState(folder);
  // A tree that was copied from a disk needs none.
  if (state.kind === "files") return;
  if (state.kind === "linked" && !mayTakeOver(state.link, open.source, before)) return;
  await linkLayer(folder, { disk: open.disk.id, tree: layer.tree });
}

function notInjected({ image, conditions, isPresent }: ImagePlan): InjectedImage {
  const result = isPresent ? "present" : "skipped";
  return { names: image.names, digest: image.target.digest, result, chain: "complete", conditions };
}

async function readBefore(node: DockerNode, signal: AbortSignal): Promise<Before> {
  const [images, records, table] = await Promise.all([
    node.engine.images(signal),
    readDiskRecords(node.store.root),
    node.mounts.table(),
  ]);
  const mounted = [...records.keys()].filter((id) => table.at(diskMountPoint(id)) !== undefined);
  return { images: byID(images), byTag: byTag(images), records, mounted: new Set(mounted) };
}

function byID(images: readonly EngineImage[]): Map<Digest, EngineImage> {
  return new Map(images.map((image) => [image.id, image]));
}

function byTag(images: readonly EngineImage[]): Map<string, EngineImage> {
  return new Map(images.flatMap((image) => image.tags.map((tag) => [tag, image])));
}
