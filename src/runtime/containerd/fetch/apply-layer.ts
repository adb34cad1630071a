import { availableParallelism } from "node:os";
import { OciError } from "../../../oci/oci-error.ts";
import { Semaphore } from "../../../oci/registry/semaphore.ts";
import type { ResolvedLayer } from "../../../oci/resolved-image.ts";
import type { Mount } from "../client/snapshots.ts";
import { type FetchJob, imageName } from "./fetch-job.ts";

/** Layers unpacked at once, of all images: each keeps one thread of containerd busy. */
const places = new Semaphore(Math.min(4, availableParallelism()));

/**
 * Has containerd unpack a layer whose blob is there. Throws `RuntimeError`, `OciError` `digest-mismatch` when the config says that it is another
 * one, the reason of `signal`, or what the fetch's `admitUnpack` throws.
 */
export async function applyLayer(
  job: FetchJob,
  { descriptor, diffID }: ResolvedLayer,
  mounts: readonly Mount[],
  signal: AbortSignal,
): Promise<void> {
  const leave = await places.acquire(signal);
  try {
    const end = await job.options.admitUnpack?.(signal);
    try {
      await job.atStep("apply");
      const actual = await job.leased.diffs.apply(descriptor, mounts, { signal });
      if (actual !== diffID)
        throw new OciError(
          "digest-mismatch",
          `Layer ${descriptor.digest} of ${imageName(job)} unpacks to ${actual} instead of ${diffID}, which its config says`,
        );
    } finally {
      end?.();
    }
  } finally {
    leave();
  }
}
