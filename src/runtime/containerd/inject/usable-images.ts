import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { InjectedImage } from "../../runtime.ts";
import { allOf } from "../../side-by-side.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { writeDocuments } from "./documents.ts";
import { makeCachedSnapshots } from "./erofs-layers.ts";
import type { InjectJob } from "./job.ts";
import { makeLinkedSnapshots, remakeCollected } from "./linked-snapshots.ts";
import { type ImagePlan, isChainComplete } from "./plan.ts";
import { writeRecords } from "./records.ts";

/** The first image alone, so that it need not wait for others; then many, which share a sync. */
const imagesAtOnce = [1, 64];

/** Those of the first batch that have something left to do. */
export function firstImages(plans: readonly ImagePlan[]): IndexImage[] {
  return plans.slice(0, imagesAtOnce[0]).flatMap(({ image, isComplete }) => (isComplete ? [] : [image]));
}

/** What is begun before the snapshots can be. */
export type Begun = {
  /** Those whose documents are being written. */
  readonly images: readonly IndexImage[];
  /** Before it is done no image gets its names. */
  readonly done: Promise<unknown>;
};

/**
 * Phase 1: makes images usable, each by one snapshot and its records; where snapshots are layer images, by all of its chain. Tells of each as
 * soon as it is. What was done comes batch by batch into `done`.
 */
export async function makeImagesUsable(
  job: InjectJob,
  plans: readonly ImagePlan[],
  begun: Begun,
  done: Map<IndexImage, InjectedImage>,
): Promise<void> {
  for (const batch of batches(plans)) {
    job.options.signal.throwIfAborted();
    await injectBatch(job, batch, begun);
    for (const plan of batch) {
      const image = injectedImage(job, plan);
      done.set(plan.image, image);
      job.options.onEvent?.({ type: "image-usable", image });
    }
  }
}

function injectedImage({ node, state }: InjectJob, plan: ImagePlan): InjectedImage {
  return {
    names: plan.image.names,
    digest: plan.image.target.digest,
    result: plan.isComplete ? "present" : "injected",
    chain: isChainComplete(plan.image, state, usesLayerImages(node)) ? "complete" : "pending",
    conditions: plan.conditions,
  };
}

async function injectBatch(job: InjectJob, plans: readonly ImagePlan[], begun: Begun): Promise<void> {
  const unfinished = plans.filter(({ isComplete }) => !isComplete);
  const images = unfinished.map(({ image }) => image);
  const tops = new Map(unfinished.flatMap(({ top }) => (top === undefined ? [] : [[top.name, top]])));
  const [present] = await allOf([
    usesLayerImages(job.node) ? makeCachedSnapshots(job, images) : makeLinkedSnapshots(job, [...tops.values()]),
    writeDocuments(
      job,
      images.filter((image) => !begun.images.includes(image)),
    ),
    begun.done,
  ]);
  await remakeCollected(job, present ?? []);
  await writeRecords(job, unfinished);
}

function* batches(plans: readonly ImagePlan[]): Generator<readonly ImagePlan[]> {
  let from = 0;
  for (let batch = 0; from < plans.length; batch++) {
    const size = imagesAtOnce[Math.min(batch, imagesAtOnce.length - 1)] as number;
    yield plans.slice(from, from + size);
    from += size;
  }
}
