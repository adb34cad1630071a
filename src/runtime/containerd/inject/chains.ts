import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition } from "../../runtime.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { listSnapshots } from "../owned-state.ts";
import type { InjectJob } from "./job.ts";
import { claimLayerBlobs } from "./layer-blobs.ts";
import { makeLinkedSnapshots } from "./linked-snapshots.ts";
import { planChains } from "./plan.ts";
import { removeUnfinished } from "./unfinished.ts";

/** Phase 2: layer blobs, and the snapshots below the images, for pulls of other images. The result says what could not be done. */
export async function completeChains(job: InjectJob, images: readonly IndexImage[]): Promise<readonly Condition[]> {
  job.atStep("chains");
  const conditions = await claimLayerBlobs(job, images);
  // Made at once with the images.
  if (usesLayerImages(job.node)) return conditions;
  // What the state says may have been collected before the records referred to it.
  const snapshots = await listSnapshots(job.node);
  // A call that was killed may have had some under way yet when this one began.
  await removeUnfinished(job.node, snapshots, job.meter, job.atStep);
  const levels = planChains(images, { ...job.state, snapshots });
  const total = levels.reduce((sum, level) => sum + level.length, 0);
  let done = 0;
  for (const level of levels) {
    job.options.signal.throwIfAborted();
    await makeLinkedSnapshots(job, level);
    done += level.length;
    job.options.onEvent?.({ type: "chains", done, total });
  }
  return conditions;
}
