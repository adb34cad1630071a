import { setTimeout as sleep } from "node:timers/promises";
import type { UnmountedDisk } from "../../host/device-release.ts";
import type { EjectOptions, EjectReport, User } from "../../runtime.ts";
import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { lockNode } from "../node-lock.ts";
import { carrierOf, emptyOf, type OwnedState, readOwnedState } from "../owned-state.ts";
import { gcRootLabel } from "../ownership.ts";
import { clearOrphans, collectGarbage } from "./collect-garbage.ts";
import { copyBlobs } from "./copy-blobs.ts";
import { copyLayerImages, removeUnusedLayerImages } from "./copy-layer-images.ts";
import { planEjection, readEjectFacts } from "./eject-plan.ts";
import { handOver } from "./hand-over.ts";
import { removeLayerLinks } from "./layer-links.ts";
import { copyTrees, removeStrayCopies, type TreeToCopy } from "./materialize.ts";
import { injectedDisks } from "./places.ts";
import { unmountDisk, whoHolds } from "./release-disk.ts";
import { clearUnfinished, giveBack, removeBlobs, removeRecords, removeSnapshots, takeLabelsOff } from "./remove.ts";
import { findUsers } from "./users.ts";

/** While it is waited for users to go. */
const pollMs = 500;
/** Users that a message names. */
const usersNamed = 5;

/**
 * Takes disks out of one namespace of containerd: records, snapshots, claimed blobs, links and mounts of theirs. What another mounted disk
 * holds too becomes that disk's; what others have come to use is copied or makes the call fail before it changes anything. In an order that
 * leaves, wherever it is interrupted, a node whose containers start, and something to find for the next call. Throws `RuntimeError`
 * (`not-found`, `failed-precondition` with the users named, `resource-exhausted`), `HostError`, or the reason of the signal.
 */
export async function ejectDisks(
  node: ContainerdNode,
  options: EjectOptions,
  atStep: AtStep = () => {},
): Promise<EjectReport> {
  let said = "";
  const removed = new Map<string, number>();
  for (;;) {
    const result = await tryEject(node, options, removed, atStep);
    if ("report" in result) return result.report;
    const names = result.users.map(({ kind, name }) => `${kind} ${name}`).join("\n");
    if (names !== said) options.onEvent?.({ type: "waiting", users: result.users });
    said = names;
    // Not under the lock: others may inject meanwhile, and agents do.
    await sleep(pollMs, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted());
  }
}

type Result = { readonly report: EjectReport } | { readonly users: readonly User[] };

/** Adds to `removed` how many images each disk loses: also a try that stops half-way removes some. */
async function tryEject(
  node: ContainerdNode,
  options: EjectOptions,
  removed: Map<string, number>,
  atStep: AtStep,
): Promise<Result> {
  await using _ = await lockNode(node, options.signal);
  const first = await readOwnedState(node);
  const disks = new Set(options.disks ?? injectedDisks(first));
  requireKnown(node, disks, first);
  await clearUnfinished(node, first, atStep);
  const state = await readOwnedState(node);
  const plan = planEjection(await readEjectFacts(node, state, disks), disks);
  const standing = await findUsers(node, state, plan.going);
  if (standing.users.length > 0 && !options.materialize) {
    if (options.wait) return { users: standing.users };
    throw inUse(node, disks, standing.users);
  }
  await removeStrayCopies(node, state, plan.places, options.signal);
  await handOver(node, plan.handOver, atStep);
  const needed = { snapshots: standing.snapshots, blobs: standing.blobs };
  const trees = plan.treesToCopy.filter(({ snapshot }) => needed.snapshots.has(snapshot.name));
  const isLayerImage = ({ snapshot }: TreeToCopy) => snapshot.number === "";
  await copyTrees(
    { node, state, options, atStep },
    trees.filter((tree) => !isLayerImage(tree)),
  );
  const { layerImages } = standing;
  const images = plan.layerLinks.filter(({ image }) => layerImages.has(image));
  await copyLayerImages({ node, state, options, atStep }, images);
  const blobs = plan.going.blobs.filter(({ digest }) => needed.blobs.has(digest));
  await copyBlobs({ node, options, atStep }, blobs);
  const copied = [...trees.map(({ snapshot }) => snapshot.name), ...plan.copied];
  await giveBack(node, state, { disks, snapshots: copied, blobs: needed.blobs }, atStep);

  options.signal.throwIfAborted();
  for (const [disk, images] of await removeRecords(node, await readOwnedState(node), disks, atStep))
    removed.set(disk, (removed.get(disk) ?? 0) + images);
  const stay = new Set([...needed.snapshots, ...copied]);
  try {
    await removeSnapshots(node, state, plan.going.snapshots.difference(stay), atStep);
  } catch (error) {
    // Somebody has put something on one of them since.
    if (!isRuntimeError(error, "failed-precondition")) throw error;
    return { users: (await findUsers(node, await readOwnedState(node), plan.going)).users };
  }
  const ours = new Set(state.blobs.map(({ digest }) => digest));
  const unneeded = plan.going.blobs.filter(({ digest }) => ours.has(digest) && !needed.blobs.has(digest));
  await removeBlobs(node, unneeded, atStep);
  await collectGarbage(node);
  const gone = plan.going.snapshots.difference(stay);
  const taken = { disks, snapshots: gone, staying: plan.stayingDocuments };
  await takeLabelsOff(node, await readOwnedState(node), taken, atStep);
  if (plan.going.layerImages.size > 0) {
    atStep("remove-layer-links");
    await removeLayerLinks(node, [...plan.going.layerImages.difference(layerImages)]);
  }
  const unmounted = await removeCarriers(node, disks, options.signal, atStep);
  await collectGarbage(node);
  await removeUnusedLayerImages(node, options.signal);

  const containers = standing.users.filter(({ kind }) => kind === "container");
  const report: EjectReport["disks"][number][] = [];
  for (const [id, disk] of unmounted) {
    const { isReleased, heldBy } = await whoHolds(node, disk, containers, options.signal);
    const materialized = trees.filter(({ disk }) => disk === id).length;
    report.push({ id, isReleased, heldBy, removedImages: removed.get(id) ?? 0, materialized });
  }
  return { report: { disks: report } };
}

/** The carrier of a disk goes last of all that is its own: as long as it is there, the next call knows that something is left to do. */
async function removeCarriers(
  node: ContainerdNode,
  disks: ReadonlySet<string>,
  signal: AbortSignal,
  atStep: AtStep,
): Promise<Map<string, UnmountedDisk>> {
  const state = await readOwnedState(node);
  const unmounted = new Map<string, UnmountedDisk>();
  for (const disk of disks) {
    const carrier = carrierOf(state, disk);
    if (carrier !== undefined) await clearOrphans(node, carrier, atStep);
    unmounted.set(disk, await unmountDisk(node, disk, carrier, signal, atStep));
    if (carrier === undefined) continue;
    atStep("remove-carrier");
    await node.snapshotWriter.remove(carrier.name);
  }
  const empty = emptyOf(state);
  const isLast = [...state.owned.values()].every(({ role, disk }) => role === "empty" || disks.has(disk));
  if (empty === undefined || !isLast) return unmounted;
  atStep("remove-empty");
  try {
    await node.snapshotWriter.remove(empty.name);
  } catch (error) {
    if (!isRuntimeError(error, "failed-precondition")) throw error;
    // Copied trees stand on it: it goes with the last of them.
    await node.snapshotWriter.updateLabels(empty.name, { [gcRootLabel]: undefined });
  }
  return unmounted;
}

function requireKnown(node: ContainerdNode, disks: ReadonlySet<string>, state: OwnedState): void {
  const known = new Set(injectedDisks(state));
  for (const disk of disks) {
    if (known.has(disk)) continue;
    throw new RuntimeError(
      "not-found",
      `disk ${disk} is not injected into namespace ${node.namespace} of containerd; "nodewarm status" lists those that are`,
    );
  }
}

function inUse(node: ContainerdNode, disks: ReadonlySet<string>, users: readonly User[]): RuntimeError {
  const named = users.slice(0, usersNamed).map(({ kind, name }) => `${kind} ${name}`);
  const more = users.length > usersNamed ? ` and ${users.length - usersNamed} more` : "";
  const what = disks.size === 1 ? `disk ${[...disks][0]} is` : `${disks.size} disks are`;
  return new RuntimeError(
    "failed-precondition",
    `${what} in use in namespace ${node.namespace} of containerd by ${named.join(", ")}${more}; remove them, or eject with --wait to wait until they are gone, or with --materialize to copy what they need to the node`,
  );
}
