import { mkdir, readlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import { HostError } from "../../host/host-error.ts";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import type { Condition } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { sideBySide } from "../../side-by-side.ts";
import { fsPath, linkTarget, type OwnedSnapshot } from "../owned-state.ts";
import { label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import { topChainID } from "./plan.ts";

/**
 * Compares the link of every snapshot of this disk with what it must be and puts it right: a power cut can leave an empty folder where the
 * record says that a tree is, and a container would start without it. What holds something is nobody's to remove and is left: the result
 * says for each such snapshot, by name, what is wrong.
 */
export async function repairLinks(job: InjectJob): Promise<Map<string, Condition>> {
  const { node, open, state } = job;
  let repaired = 0;
  const occupied = new Map<string, Condition>();
  const ours = [...state.owned.values()].filter(({ disk, tree }) => disk === open.disk.id && tree !== "");
  await sideBySide(ours, async (snapshot) => {
    const result = await putLink(job, snapshot, snapshot.tree);
    if (result === "put") repaired++;
    else if (result !== "present") occupied.set(snapshot.name, result);
  });
  if (repaired > 0) await syncFilesystem(node.local(node.snapshotsFolder));
  return occupied;
}

/** Makes the `fs` of a snapshot a link to a folder of this disk, unless it is that, or holds something: then the condition says so. */
export async function putLink(
  { node, carrier, atStep }: InjectJob,
  snapshot: OwnedSnapshot,
  tree: string,
): Promise<"put" | "present" | Condition> {
  const path = node.local(fsPath(node, snapshot.number));
  const target = linkTarget(carrier, tree);
  if ((await readlink(path).catch(() => undefined)) === target) return "present";
  atStep("put link");
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    return (await swapInLink(path, target)) ? "put" : "present";
  } catch (error) {
    if (error instanceof HostError && error.code === "occupied")
      return occupiedCondition(fsPath(node, snapshot.number), snapshot);
    throw error;
  }
}

/**
 * Takes the records of an image away whose snapshot holds something else than its tree, as far as they are ours: containers would start with
 * it. When nothing uses the snapshot, containerd collects it, and the next injection makes it anew.
 */
export async function withdrawOccupied(
  { node, state, meter, atStep }: InjectJob,
  images: readonly IndexImage[],
  occupied: ReadonlyMap<string, Condition>,
): Promise<Map<IndexImage, Condition>> {
  const withdrawn = new Map<IndexImage, Condition>();
  for (const image of images) {
    const condition = occupied.get(topChainID(image) ?? "");
    if (condition === undefined) continue;
    withdrawn.set(image, condition);
    for (const { name, target, labels } of state.images.values()) {
      if (target.digest !== image.target.digest || labels[label.disk] === undefined) continue;
      atStep("withdraw");
      meter.count("record");
      await node.in.images.delete(name).catch((error: unknown) => {
        if (!isRuntimeError(error, "not-found")) throw error;
      });
    }
  }
  return withdrawn;
}

function occupiedCondition(path: string, { name, role }: OwnedSnapshot): Condition {
  const effect =
    role === "image"
      ? "its image is withdrawn; remove the containers that use it and inject again"
      : "remove the images that were pulled or built on it, and inject again";
  return {
    type: "SnapshotOccupied",
    message: `${path} of snapshot ${name} is a folder with something in it where a link to the disk should be: ${effect}`,
  };
}
