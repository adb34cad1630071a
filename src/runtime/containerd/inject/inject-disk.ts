import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition, InjectedImage, InjectOptions, InjectReport, OpenDisk } from "../../runtime.ts";
import { allOf } from "../../side-by-side.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { lockNode } from "../node-lock.ts";
import type { OwnedState } from "../owned-state.ts";
import { ensureCarrier, ensureEmpty } from "./carrier.ts";
import { completeChains } from "./chains.ts";
import { disksAway } from "./disks-away.ts";
import { linkLayerImages } from "./erofs-layers.ts";
import { blobConditions, refuseUnfit, wantedImages } from "./fitness.ts";
import { removeLeases, withLease } from "./injection-lease.ts";
import type { AtStep, InjectJob } from "./job.ts";
import { Meter } from "./meter.ts";
import { isChainComplete, isCommitted, topChainID } from "./plan.ts";
import { relinkToNewer } from "./relink.ts";
import { repairLinks, withdrawOccupied } from "./repair-links.ts";
import { type Survey, survey } from "./survey.ts";
import { removeUnfinished } from "./unfinished.ts";
import { makeImagesUsable } from "./usable-images.ts";
import { userNamespaceConditions } from "./user-namespaces.ts";

/**
 * Makes the images of a disk usable in one namespace of containerd: first each as one snapshot with its records (phase 1), then the chains
 * below them for pulls of other images (phase 2). Where containerd's EROFS snapshotter is used, the chains are made at once. Nothing that is
 * there already is touched, and what an earlier call left half done is completed. Throws `RuntimeError`, `HostError`, `DiskError`, or the
 * reason of the signal.
 */
export async function injectDisk(
  node: ContainerdNode,
  open: OpenDisk,
  options: InjectOptions,
  atStep: AtStep = () => {},
): Promise<InjectReport> {
  const started = performance.now();
  const secondsPassed = () => (performance.now() - started) / 1000;
  refuseUnfit(node, open);
  const wanted = wantedImages(open, options.images);
  await using _ = await lockNode(node, options.signal);
  const found = await survey(node, open, wanted, options);
  const { state } = found;
  const meter = new Meter();
  await removeUnfinished(node, state.snapshots, meter, atStep);

  const skipped = new Map(found.skipped);
  const done = new Map<IndexImage, InjectedImage>();
  const conditions: Condition[] = [...userNamespaceConditions(node), ...blobConditions(node, open)];
  let usableSeconds = 0;
  await withLease(node, meter, options.signal, async (leased) => {
    const job = await startJob({ node, leased, open, options, state, meter, atStep });
    const taken = await takeOver(job, found);
    conditions.push(...taken.occupied);
    for (const [image, condition] of taken.withdrawn) skipped.set(image, condition);
    await makeImagesUsable(
      job,
      found.plans.filter(({ image }) => !taken.withdrawn.has(image)),
      done,
    );
    usableSeconds = secondsPassed();
    if (!options.chains) return;
    const images = found.plans.map(({ image }) => image);
    conditions.push(...(await completeChains(job, images)));
    for (const [image, injected] of done) done.set(image, { ...injected, chain: "complete" });
  });
  await removeLeases(node, found.leases, meter, atStep);
  return {
    disk: open.disk.id,
    images: wanted.map((image) => done.get(image) ?? skippedImage(node, image, skipped.get(image), state)),
    conditions,
    calls: meter.calls,
    transactions: meter.transactions,
    seconds: { usable: usableSeconds, chains: secondsPassed() - usableSeconds },
  };
}

/** Mounts the disk where the snapshots to come lead, and makes what they stand on. */
async function startJob(place: Omit<InjectJob, "carrier" | "away">): Promise<InjectJob> {
  const [carrier, , away] = await allOf([
    ensureCarrier(place, place.open, place.options.signal),
    usesLayerImages(place.node) ? undefined : ensureEmpty(place),
    disksAway(place.node, place.state, place.open.disk.id),
  ]);
  const job = { ...place, carrier, away };
  if (usesLayerImages(job.node)) await linkLayerImages(job);
  return job;
}

/** Puts right what of this disk and of older ones is there already; images whose snapshot cannot be put right are withdrawn. */
async function takeOver(
  job: InjectJob,
  { plans }: Survey,
): Promise<{ readonly occupied: Iterable<Condition>; readonly withdrawn: ReadonlyMap<IndexImage, Condition> }> {
  const repaired = usesLayerImages(job.node) ? [] : await repairLinks(job);
  const occupied = new Map([...repaired, ...(await relinkToNewer(job))]);
  const images = plans.map(({ image }) => image);
  return { occupied: occupied.values(), withdrawn: await withdrawOccupied(job, images, occupied) };
}

function skippedImage(
  node: ContainerdNode,
  image: IndexImage,
  condition: Condition | undefined,
  state: OwnedState,
): InjectedImage {
  const top = topChainID(image);
  const isThere =
    isChainComplete(image, state, usesLayerImages(node)) && (top === undefined || isCommitted(state, top));
  return {
    names: image.names,
    digest: image.target.digest,
    result: "skipped",
    chain: isThere ? "complete" : "pending",
    conditions: condition === undefined ? [] : [condition],
  };
}
