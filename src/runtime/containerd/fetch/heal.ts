import { randomUUID } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { RuntimeError } from "../../runtime-error.ts";
import { copyName } from "../eject/places.ts";
import { noSnapshotLabels } from "../eject/remove.ts";
import { snapshotNumber } from "../inject/linked-snapshots.ts";
import { lockNode } from "../node-lock.ts";
import type { OwnedSnapshot } from "../owned-state.ts";
import { prepareSnapshot } from "../prepare-snapshot.ts";
import { applyLayer } from "./apply-layer.ts";
import { type FetchJob, imageName } from "./fetch-job.ts";
import { isAbandoned } from "./held-snapshots.ts";
import { unpackingPrefix } from "./image-lease.ts";

/** Which layers of the image a snapshot's tree is made of. Throws `failed-precondition` when it is none of its chain. */
export function layersOf(
  job: Pick<FetchJob, "chain" | "image" | "repository">,
  { name, role }: OwnedSnapshot,
): number[] {
  const index = (job.chain as readonly string[]).indexOf(name);
  if (index < 0)
    throw new RuntimeError(
      "failed-precondition",
      `the snapshot ${name} leads to a disk that is away, and ${imageName(job)} stands on it but does not say what is in it; attach the disk again, or remove what stands on it (nodewarm status names it)`,
    );
  return role === "image" ? job.chain.slice(0, index + 1).map((_, i) => i) : [index];
}

/**
 * Gives snapshots that lead to a disk which is gone, and that others stand on, trees of their own, from blobs that are there: each is unpacked
 * beside, made durable, and the link renamed over `fs`. Who mounts the snapshot from then on gets the tree, and what runs keeps what it has. They are the
 * runtime's own then. Safe to interrupt and to repeat. Throws `RuntimeError`, `HostError`, `OciError`, or the reason of `signal`.
 */
export async function healSnapshots(
  job: FetchJob,
  stuck: readonly OwnedSnapshot[],
  signal: AbortSignal,
): Promise<void> {
  for (const snapshot of stuck) await heal(job, snapshot, signal);
}

async function heal(job: FetchJob, snapshot: OwnedSnapshot, signal: AbortSignal): Promise<void> {
  const { node, leased } = job;
  const writer = leased.snapshotWriter(node.snapshotter);
  const key = `${unpackingPrefix}${randomUUID()}`;
  await job.atStep("prepare to heal");
  // Layers that go into one folder after the other leave in it what they would show one upon the other.
  const mounts = await prepareSnapshot(node, writer, key, snapshot.role === "layer" ? { parent: snapshot.parent } : {});
  try {
    for (const index of layersOf(job, snapshot)) {
      const layer = job.image.layers[index];
      if (layer !== undefined) await applyLayer(job, layer, mounts, signal);
    }
    await putTree(job, snapshot, snapshotNumber(mounts), signal);
  } finally {
    // What stays is collected with the lease.
    await writer.remove(key).catch(() => {});
  }
}

/** Moves the tree from the folder that it was unpacked in, unless the disk has come back. */
async function putTree(
  { node, atStep }: FetchJob,
  { name, number }: OwnedSnapshot,
  from: string,
  signal: AbortSignal,
): Promise<void> {
  await using _ = await lockNode(node, signal);
  if (!(await isAbandoned(node, name))) return;
  const snapshots = node.local(node.snapshotsFolder);
  const copy = `${snapshots}/${number}/${copyName}`;
  await atStep("heal");
  await mkdir(`${snapshots}/${number}`, { recursive: true, mode: 0o700 });
  // Of one that was interrupted.
  await rm(copy, { recursive: true, force: true });
  await rename(`${snapshots}/${from}/fs`, copy);
  await mkdir(`${snapshots}/${from}/fs`);
  await syncFilesystem(snapshots);
  await atStep("swap healed");
  await swapInLink(`${snapshots}/${number}/fs`, copyName);
  await syncFilesystem(snapshots);
  await atStep("label healed");
  await node.snapshotWriter.updateLabels(name, noSnapshotLabels);
}
