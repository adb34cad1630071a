import { chainIDs } from "../../../disk/build/chain.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import { Semaphore } from "../../../oci/registry/semaphore.ts";
import type { ImageDocument, ResolvedImage } from "../../../oci/resolved-image.ts";
import type { FetchOptions, FetchReport } from "../../image-keeper.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { allOrNone } from "./all-or-none.ts";
import { diskFull, isDiskFull } from "./disk-full.ts";
import { layersOnDisks } from "./disk-layers.ts";
import { hasFile } from "./document-files.ts";
import { writeDocuments } from "./documents.ts";
import { type FetchJob, type FetchStep, imageName } from "./fetch-job.ts";
import { FetchMeter } from "./fetch-meter.ts";
import { healSnapshots, layersOf } from "./heal.ts";
import { findGround, isUsable } from "./held-snapshots.ts";
import { ImageLease } from "./image-lease.ts";
import { ensureBlob } from "./layer-blob.ts";
import { openSnapshotter } from "./open-snapshotter.ts";
import { missingPin, recordNames, writeRecords } from "./records.ts";
import { openSpool } from "./spool.ts";
import { tidySpool } from "./tidy-spool.ts";
import { Unpacker } from "./unpack.ts";

/** Layers of one image that are on their way at once; the lowest first, which are unpacked first. */
const layersAtOnce = 6;

/**
 * Makes an image warm: what the node lacks of it is fetched, unpacked by containerd, and recorded as a pull would, under `repository@digest`;
 * no tag is touched. See `ImageKeeper.fetch`. What is half done when it ends early is gone on with by the next call for the same image.
 * Several at once are safe, for the same image too. Throws `RuntimeError` (`resource-exhausted` when there is no space, and then keeps
 * nothing; `failed-precondition` for another snapshotter), `HostError`, `OciError`, what `node:fs` gives, or the reason of the signal.
 */
export async function fetchImage(
  node: ContainerdNode,
  image: ResolvedImage,
  repository: string,
  options: FetchOptions,
  atStep: FetchStep = () => {},
): Promise<FetchReport> {
  const { signal } = options;
  signal.throwIfAborted();
  if (node.snapshotter !== "overlayfs")
    throw new RuntimeError(
      "failed-precondition",
      `layers are fetched for overlayfs only; containerd uses "${node.snapshotter}", and pulls its images itself`,
    );
  const totalBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const meter = new FetchMeter(totalBytes, options.onProgress);
  const chain = chainIDs(image.layers.map(({ diffID }) => diffID));
  const known = { node, image, repository, options, chain, meter, atStep };
  const spool = await openSpool(node);
  const isLeft = await ImageLease.isLeft(node, spool, image.target.digest);
  if (!isLeft && (await isAllThere(known))) return await presentReport(known);
  const lease = await ImageLease.take(node, spool, image.target.digest, signal);
  let end: "keep" | "delete" = "keep";
  try {
    // Whoever held the lock before may have fetched it.
    if (await isAllThere(known)) {
      end = "delete";
      return await presentReport(known);
    }
    await lease.removeUnfinished();
    await tidySpool(node, false);
    const job: FetchJob = { ...known, spool, leaseID: lease.id, leased: node.in.withLease(lease.id) };
    await openSnapshotter(job);
    await fetchLayers(job);
    await writeDocuments(job);
    await writeRecords(job);
    end = "delete";
    return meter.report("fetched");
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    end = "delete";
    throw diskFull(imageName(known), [spool, node.local(node.snapshotsFolder)], error);
  } finally {
    await atStep("end lease");
    await lease.end(end);
  }
}

async function fetchLayers(job: FetchJob): Promise<void> {
  const { image, chain, meter, options } = job;
  const { from, stuck } = await findGround(job);
  const healing = new Set(stuck.flatMap((snapshot) => layersOf(job, snapshot)));
  const onDisks = await layersOnDisks(job, from);
  for (const [i, { descriptor }] of image.layers.entries()) {
    if (i >= from || healing.has(i)) continue;
    if (onDisks.has(i)) meter.diskBytes += descriptor.size;
    meter.presentLayers++;
    meter.unpackedBytes += descriptor.size;
    meter.present(descriptor.size);
  }
  meter.tell();
  const unpacker = new Unpacker(job, from);
  const window = new Semaphore(layersAtOnce);
  const ensure = async (index: number, signal: AbortSignal): Promise<void> => {
    const leave = await window.acquire(signal);
    try {
      await ensureBlob(job, index, signal);
    } finally {
      leave();
    }
  };
  if (stuck.length > 0) {
    await allOrNone([...healing], options.signal, ensure);
    await healSnapshots(job, stuck, options.signal);
    for (const index of healing) if (index < from) meter.unpacked(image.layers[index]?.descriptor.size ?? 0);
  }
  const indexes = chain.map((_, i) => i).slice(from);
  await allOrNone(indexes, options.signal, async (index, signal) => {
    await ensure(index, signal);
    await unpacker.unpack(index, signal);
    meter.unpacked(image.layers[index]?.descriptor.size ?? 0);
  });
}

type Known = Omit<FetchJob, "spool" | "leaseID" | "leased">;

/** Whether there is nothing to do: the snapshot, the documents with what they refer to, and the records with their pins. */
async function isAllThere(known: Known): Promise<boolean> {
  const { node, image, chain } = known;
  try {
    const top = chain.at(-1);
    if (top !== undefined && !(await isUsable(node, top))) return false;
    for (const document of image.documents) {
      const { labels } = await node.in.content.info(document.descriptor.digest);
      const kept = Object.values(labels);
      if (neededBy(known, document).some((digest) => !kept.includes(digest))) return false;
      if (!(await hasFile(node, document.descriptor))) return false;
    }
    for (const name of recordNames(known)) {
      const { labels } = await node.in.images.get(name);
      if (missingPin(node.namespace, labels) !== undefined) return false;
    }
    return true;
  } catch (error) {
    if (isRuntimeError(error, "not-found")) return false;
    throw error;
  }
}

/** What a container of the image cannot be started without, and the document refers to. */
function neededBy({ image, chain }: Known, { descriptor: { digest } }: ImageDocument): readonly Digest[] {
  if (digest === image.config.digest) return chain.slice(-1);
  const position = image.documents.findIndex(({ descriptor }) => descriptor.digest === digest);
  return image.documents.slice(position + 1, position + 2).map(({ descriptor }) => descriptor.digest);
}

async function presentReport(known: Known): Promise<FetchReport> {
  const { image, meter } = known;
  const onDisks = await layersOnDisks(known, image.layers.length);
  meter.presentLayers = image.layers.length;
  for (const [i, { descriptor }] of image.layers.entries()) {
    if (onDisks.has(i)) meter.diskBytes += descriptor.size;
    meter.unpackedBytes += descriptor.size;
    meter.present(descriptor.size);
  }
  return meter.report("present");
}
