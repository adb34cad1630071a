import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition, InjectedImage, InjectOptions, InjectReport, OpenDisk } from "../../runtime.ts";
import { allOf } from "../../side-by-side.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { lockNode } from "../node-lock.ts";
import type { OwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { carrierFile, ensureEmpty, type PreparedSnapshot, prepareCarrier, showOnCarrier } from "./carrier.ts";
import { completeChains } from "./chains.ts";
import { disksAway } from "./disks-away.ts";
import { writeDocuments } from "./documents.ts";
import { linkLayerImages } from "./erofs-layers.ts";
import { blobConditions, refuseUnfit, wantedImages } from "./fitness.ts";
import { newLeaseID, removeLeases, withLease } from "./injection-lease.ts";
import type { AtStep, InjectJob, JobPlace } from "./job.ts";
import { Meter } from "./meter.ts";
import { type MountedDisk, mountOnNode } from "./mounted-disk.ts";
import { isChainComplete, isCommitted, topChainID } from "./plan.ts";
import { relinkToNewer } from "./relink.ts";
import { repairLinks, withdrawOccupied } from "./repair-links.ts";
import { type Survey, survey } from "./survey.ts";
import { removeUnfinished } from "./unfinished.ts";
import { firstImages, makeImagesUsable } from "./usable-images.ts";
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
  await using held = new AsyncDisposableStack();
  held.use(await lockNode(node, options.signal));
  const meter = new Meter();
  // What takes longest before the first snapshot, beside the look at the node.
  const mounting = mountOnNode(node, open, atStep, options.signal);
  mounting.catch(() => {});
  held.defer(async () => (await mounting.catch(() => undefined))?.[Symbol.asyncDispose]());

  const skipped = new Map<IndexImage, Condition>();
  const done = new Map<IndexImage, InjectedImage>();
  const conditions: Condition[] = [...userNamespaceConditions(node), ...blobConditions(node, open)];
  let usableSeconds = 0;
  const leaseID = newLeaseID();
  const look = () => survey(node, open, wanted, options, leaseID);
  const found = await withLease({ node, id: leaseID, meter, signal: options.signal }, look, async (leased, found) => {
    const { state, documents, plans } = found;
    for (const [image, condition] of found.skipped) skipped.set(image, condition);
    await removeUnfinished(node, state.snapshots, meter, atStep);
    const place: JobPlace = { node, leased, open, options, state, documents, meter, atStep };
    // The documents of the first image stand on nothing.
    const first = firstImages(plans);
    const written = mounting.then(() => writeDocuments(place, first));
    const work = async (): Promise<void> => {
      const { job, shown } = await startJob(place, mounting);
      const begun = allOf([written, shown]);
      const rest = async (): Promise<void> => {
        const taken = await takeOver(job, found, shown);
        conditions.push(...taken.occupied);
        for (const [image, condition] of taken.withdrawn) skipped.set(image, condition);
        const usable = plans.filter(({ image }) => !taken.withdrawn.has(image));
        await makeImagesUsable(job, usable, { images: first, done: begun }, done);
        usableSeconds = secondsPassed();
        if (!options.chains) return;
        // Where no image was left to do, nothing has waited for the carrier.
        await begun;
        const images = plans.map(({ image }) => image);
        conditions.push(...(await completeChains(job, images)));
        for (const [image, injected] of done) done.set(image, { ...injected, chain: "complete" });
      };
      await allOf([begun, rest()]);
    };
    await allOf([written, work()]);
  });
  await removeLeases(node, found.leases, meter, atStep);
  return {
    disk: open.disk.id,
    images: wanted.map((image) => done.get(image) ?? skippedImage(node, image, skipped.get(image), found.state)),
    conditions,
    calls: meter.calls,
    transactions: meter.transactions,
    seconds: { usable: usableSeconds, chains: secondsPassed() - usableSeconds },
  };
}

/**
 * Makes what the snapshots to come stand on, and shows the disk, once it is mounted, on its carrier. That is under way yet when this is done, unless
 * containerd looks through it: `shown`.
 */
async function startJob(
  place: JobPlace,
  mounting: Promise<MountedDisk>,
): Promise<{ readonly job: InjectJob; readonly shown: Promise<void> }> {
  const file = await carrierFile(place.open);
  const [carrier, , away] = await allOf([
    prepareCarrier(place, file),
    usesLayerImages(place.node) ? undefined : ensureEmpty(place),
    disksAway(place.node, place.state, place.open.disk.id),
  ]);
  const carried = commitOnceMounted(carrier, mounting);
  carried.catch(() => {});
  const job = { ...place, carrier: carrier.snapshot, carried, away };
  const shown = (async () => {
    await carried;
    await using mounted = await mounting;
    await showOnCarrier(place, carrier.snapshot, file);
    mounted.keep();
  })();
  shown.catch(() => {});
  if (usesLayerImages(job.node)) {
    await shown;
    await linkLayerImages(job);
  }
  return { job, shown };
}

/** A disk that cannot be mounted gets no carrier. */
async function commitOnceMounted(carrier: PreparedSnapshot, mounting: Promise<MountedDisk>): Promise<void> {
  try {
    await mounting;
  } catch (error) {
    // What is left of it is collected with the lease.
    await carrier.abandon().catch(() => {});
    throw error;
  }
  await carrier.commit();
}

/** Puts right what of this disk and of older ones is there already; images whose snapshot cannot be put right are withdrawn. */
async function takeOver(
  job: InjectJob,
  { plans }: Survey,
  shown: Promise<unknown>,
): Promise<{ readonly occupied: Iterable<Condition>; readonly withdrawn: ReadonlyMap<IndexImage, Condition> }> {
  // What is ours already is led to a carrier that stays.
  if (ownsAnything(job.state)) await job.carried;
  const repaired = usesLayerImages(job.node) ? [] : await repairLinks(job);
  const occupied = new Map([...repaired, ...(await relinkToNewer(job, shown))]);
  const images = plans.map(({ image }) => image);
  return { occupied: occupied.values(), withdrawn: await withdrawOccupied(job, images, occupied) };
}

function ownsAnything({ owned, blobs, images }: OwnedState): boolean {
  return owned.size > 0 || blobs.length > 0 || images.values().some(({ labels }) => labels[label.disk] !== undefined);
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
