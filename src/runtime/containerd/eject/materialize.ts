import { rm } from "node:fs/promises";
import { requireRoom } from "../../copy-room.ts";
import { copyTree } from "../../host/copy-tree.ts";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import type { EjectOptions } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { carrierOf, fsPath, type OwnedSnapshot, type OwnedState } from "../owned-state.ts";
import { removeStrayBlobs } from "./copy-blobs.ts";
import { copyName, type TreePlace } from "./places.ts";

/** A snapshot whose tree is on a disk that goes. */
export type TreeToCopy = { readonly snapshot: OwnedSnapshot; readonly disk: string };

type Folders = Pick<ContainerdNode, "snapshotsFolder" | "local">;

type Job = {
  readonly node: Folders;
  readonly state: Pick<OwnedState, "owned">;
  readonly options: Pick<EjectOptions, "signal" | "onEvent">;
  readonly atStep: AtStep;
};

/**
 * Copies trees from the mounted disk into the folders of their snapshots, and moves `fs` over to the copies when they are durable: who mounts
 * the snapshot from then on gets the copy, and what runs keeps what it has. Throws `RuntimeError`: `failed-precondition` when the disk is not
 * mounted, `resource-exhausted` when there is no room.
 */
export async function copyTrees({ node, state, options, atStep }: Job, trees: readonly TreeToCopy[]): Promise<void> {
  const sources = trees.map(({ snapshot, disk }) => {
    const carrier = carrierOf(state, disk);
    return { snapshot, from: node.local(`${fsPath(node, carrier?.number ?? "")}/${snapshot.tree}`) };
  });
  const { signal } = options;
  const copies = sources.map(({ snapshot, from }) => ({
    what: `the tree of ${snapshot.name}`,
    disk: snapshot.disk,
    from,
  }));
  await requireRoom(copies, { folder: node.snapshotsFolder, local: node.local(node.snapshotsFolder) }, signal);
  for (const { snapshot, from } of sources) {
    atStep("copy");
    options.onEvent?.({ type: "materializing", snapshot: snapshot.name, tree: snapshot.tree });
    await copyTree(from, copyPath(node, snapshot), signal);
  }
  atStep("sync");
  await syncFilesystem(node.local(node.snapshotsFolder));
  for (const { snapshot } of sources) {
    atStep("swap");
    await swapInLink(node.local(fsPath(node, snapshot.number)), copyName);
  }
  await syncFilesystem(node.local(node.snapshotsFolder));
}

/** Copies that were interrupted, or that a later injection has replaced by the disk again. */
export async function removeStrayCopies(
  node: ContainerdNode,
  state: OwnedState,
  places: ReadonlyMap<string, TreePlace>,
  signal: AbortSignal,
): Promise<void> {
  for (const [name, place] of places) {
    const snapshot = state.owned.get(name);
    if (snapshot !== undefined && place.on !== "copy")
      await rm(copyPath(node, snapshot), { recursive: true, force: true });
  }
  await removeStrayBlobs(node, signal);
}

function copyPath(node: Folders, { number }: OwnedSnapshot): string {
  return node.local(`${node.snapshotsFolder}/${number}/${copyName}`);
}
