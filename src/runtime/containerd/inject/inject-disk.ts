import { randomUUID } from "node:crypto";
import { areaKind } from "../../../disk/files-format.ts";
import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import { verifyAreas } from "../../../disk/reader/verify-areas.ts";
import type { Condition, InjectedImage, InjectOptions, InjectReport, OpenDisk } from "../../runtime.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import { type ContainerdNode, dockerNamespace } from "../containerd-node.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { lockNode } from "../node-lock.ts";
import { listSnapshots, type OwnedState, readOwnedState } from "../owned-state.ts";
import { label } from "../ownership.ts";
import { unfitSnapshotter } from "../snapshotter.ts";
import { ensureCarrier, ensureEmpty } from "./carrier.ts";
import { checkImage } from "./disk-documents.ts";
import { writeDocuments } from "./documents.ts";
import { linkLayerImages, makeCachedSnapshots, refuseWithoutLayerImages } from "./erofs-layers.ts";
import type { AtStep, InjectJob } from "./job.ts";
import { claimLayerBlobs } from "./layer-blobs.ts";
import { makeLinkedSnapshots } from "./linked-snapshots.ts";
import { Meter } from "./meter.ts";
import { type ImagePlan, isChainComplete, isCommitted, planChains, planImage, topChainID } from "./plan.ts";
import { writeRecords } from "./records.ts";
import { relinkToNewer } from "./relink.ts";
import { repairLinks, withdrawOccupied } from "./repair-links.ts";
import { sideBySide } from "./side-by-side.ts";
import { sandboxImages, whySkipped } from "./skipped-images.ts";
import { userNamespaceConditions } from "./user-namespaces.ts";

/** The first image alone, so that it need not wait for others; then many, which share a sync. */
const imagesAtOnce = [1, 64];

/**
 * Makes the images of a disk usable in one namespace of containerd: first each as one snapshot with its records (phase 1), then the chains
 * below them for pulls of other images (phase 2). Where containerd's EROFS snapshotter is used, the chains are made at once. Nothing that is there already is touched, and what an earlier call left half done is
 * completed. Throws `RuntimeError`, `HostError`, `DiskError`, or the reason of the signal.
 */
export async function injectDisk(
  node: ContainerdNode,
  open: OpenDisk,
  options: InjectOptions,
  atStep: AtStep = () => {},
): Promise<InjectReport> {
  const { signal } = options;
  const started = performance.now();
  refuseUnfit(node, open);
  const wanted = wantedImages(open, options.images);
  await verifyAreas(open.disk, [areaKind.index], signal, "build the disk again");
  await using _ = await lockNode(node, signal);
  const state = await readOwnedState(node);
  const meter = new Meter();
  await removeUnfinished(node, state, meter);
  const leasesBefore = await staleLeases(node);

  const sandboxes = await sandboxImages(node);
  const skipped = new Map<IndexImage, Condition>();
  for (const image of wanted) {
    const condition = whySkipped(node, open.disk.index, image, options, sandboxes);
    if (condition !== undefined) skipped.set(image, condition);
  }
  const images = wanted.filter((image) => !skipped.has(image));
  for (const image of images) await checkImage(open.disk, image);
  const plans = images.map((image) =>
    planImage(open.disk.index, image, state, { namespace: node.namespace, force: options.force }),
  );

  const done = new Map<IndexImage, InjectedImage>();
  const conditions: Condition[] = [...userNamespaceConditions(node), ...blobConditions(node, open)];
  let usableSeconds = 0;
  await withLease(node, meter, signal, async (leased) => {
    const place = { node, leased, state, meter, atStep };
    if (!usesLayerImages(node)) await ensureEmpty(place);
    const carrier = await ensureCarrier(place, open, signal);
    const job: InjectJob = { node, leased, open, options, state, carrier, meter, atStep };
    if (usesLayerImages(node)) await linkLayerImages(job);
    const repaired = usesLayerImages(node) ? [] : await repairLinks(job);
    const occupied = new Map([...repaired, ...(await relinkToNewer(job))]);
    conditions.push(...occupied.values());
    const withdrawn = await withdrawOccupied(job, images, occupied);
    for (const [image, condition] of withdrawn) skipped.set(image, condition);
    for (const batch of batches(plans.filter(({ image }) => !withdrawn.has(image)))) {
      signal.throwIfAborted();
      await injectBatch(job, batch);
      for (const plan of batch) {
        const isNew = plan.top !== undefined || plan.records.length > 0;
        const injected: InjectedImage = {
          names: plan.image.names,
          digest: plan.image.target.digest,
          result: isNew ? "injected" : "present",
          chain: isChainComplete(plan.image, state, usesLayerImages(node)) ? "complete" : "pending",
          conditions: plan.conditions,
        };
        done.set(plan.image, injected);
        options.onEvent?.({ type: "image-usable", image: injected });
      }
    }
    usableSeconds = (performance.now() - started) / 1000;
    if (!options.chains) return;
    atStep("chains");
    conditions.push(...(await claimLayerBlobs(job, images)));
    // What the state says may have been collected before the records referred to it.
    const current = { ...job, state: { ...state, snapshots: await listSnapshots(node) } };
    if (!usesLayerImages(node)) await completeChains(current, images);
    for (const [image, injected] of done) done.set(image, { ...injected, chain: "complete" });
  });
  for (const id of leasesBefore) {
    atStep("remove lease");
    meter.count("lease");
    await node.in.leases.delete(id).catch(() => {});
  }
  return {
    disk: open.disk.id,
    images: wanted.map((image) => done.get(image) ?? skippedImage(node, image, skipped.get(image), state)),
    conditions,
    calls: meter.calls,
    transactions: meter.transactions,
    seconds: { usable: usableSeconds, chains: (performance.now() - started) / 1000 - usableSeconds },
  };
}

async function injectBatch(job: InjectJob, plans: readonly ImagePlan[]): Promise<void> {
  const tops = new Map(plans.flatMap(({ top }) => (top === undefined ? [] : [[top.name, top]])));
  const unfinished = plans.filter(({ top, records }) => top !== undefined || records.length > 0);
  const halves = await Promise.allSettled([
    usesLayerImages(job.node)
      ? makeCachedSnapshots(
          job,
          unfinished.map(({ image }) => image),
        )
      : makeLinkedSnapshots(job, [...tops.values()]),
    writeDocuments(
      job,
      unfinished.map(({ image }) => image),
    ),
  ]);
  // Neither goes on under a lease and a lock that the other has given up.
  for (const half of halves) if (half.status === "rejected") throw half.reason;
  await sideBySide(unfinished, (plan) => writeRecords(job, plan));
}

async function completeChains(job: InjectJob, images: readonly IndexImage[]): Promise<void> {
  const levels = planChains(images, job.state);
  const total = levels.reduce((sum, level) => sum + level.length, 0);
  let done = 0;
  for (const level of levels) {
    job.options.signal.throwIfAborted();
    await makeLinkedSnapshots(job, level);
    done += level.length;
    job.options.onEvent?.({ type: "chains", done, total });
  }
}

/** Does `work` under a lease, which keeps from garbage collection what nothing refers to yet. It has no end: clocks may be wrong. */
async function withLease(
  node: ContainerdNode,
  meter: Meter,
  signal: AbortSignal,
  work: (leased: NamespaceClient) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const id = `nodewarm-${randomUUID()}`;
  meter.count("lease");
  await node.in.leases.create(id, { [label.lease]: "inject" });
  try {
    await work(node.in.withLease(id));
  } finally {
    meter.count("lease");
    // Whoever comes next deletes it otherwise.
    await node.in.leases.delete(id).catch(() => {});
  }
}

/** Leases of calls that were killed: under the lock nobody works under them. What they hold is ours to complete, so they go last. */
async function staleLeases(node: ContainerdNode): Promise<string[]> {
  const leases = await node.in.leases.list();
  return leases.flatMap(({ id, labels }) => (labels[label.lease] === undefined ? [] : [id]));
}

/** What a call that was killed did not get to commit. */
async function removeUnfinished(node: ContainerdNode, state: OwnedState, meter: Meter): Promise<void> {
  for (const key of state.unfinished) {
    meter.count("remove");
    await node.snapshotWriter.remove(key).catch((error: unknown) => {
      if (!isRuntimeError(error, "not-found")) throw error;
    });
  }
}

function refuseUnfit(node: ContainerdNode, open: OpenDisk): void {
  if (usesLayerImages(node)) refuseWithoutLayerImages(open);
  else if (node.snapshotter !== "overlayfs") throw unfitSnapshotter(node.snapshotter);
  const { disk } = open;
  const architecture = goArchitecture(process.arch);
  const { os, architecture: wanted } = disk.index.platform;
  if (os !== "linux" || wanted !== architecture)
    throw new RuntimeError(
      "failed-precondition",
      `${disk.source.name} holds images for ${os}/${wanted}, this node is linux/${architecture}; use the disk of this platform`,
    );
}

/** As the OCI image spec has it: the names of Go. */
function goArchitecture(architecture: string): string {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le", loong64: "loong64" };
  return names[architecture] ?? architecture;
}

/** Docker's users push and save; CRI never does. */
function blobConditions({ namespace }: ContainerdNode, { disk }: OpenDisk): Condition[] {
  if (namespace !== dockerNamespace || disk.index.blobs) return [];
  return [
    {
      type: "NoLayerBlobs",
      message: `${disk.source.name} holds no layer blobs: docker push, save and export of its images are not possible; build it with --blobs for that`,
    },
  ];
}

/** Those of the names given, or all. Throws `RuntimeError` `not-found` for a name that the disk lacks. */
function wantedImages({ disk }: OpenDisk, names: readonly string[] | undefined): readonly IndexImage[] {
  if (names === undefined) return disk.index.images;
  const missing = names.filter((name) => !disk.index.images.some((image) => image.names.includes(name)));
  if (missing.length > 0)
    throw new RuntimeError(
      "not-found",
      `${disk.source.name} has no image ${missing.join(", ")}; nodewarm inspect lists those that it has`,
    );
  return disk.index.images.filter((image) => image.names.some((name) => names.includes(name)));
}

function* batches(plans: readonly ImagePlan[]): Generator<readonly ImagePlan[]> {
  let from = 0;
  for (let batch = 0; from < plans.length; batch++) {
    const size = imagesAtOnce[Math.min(batch, imagesAtOnce.length - 1)] as number;
    yield plans.slice(from, from + size);
    from += size;
  }
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
