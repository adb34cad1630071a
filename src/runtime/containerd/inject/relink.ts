import { readlink } from "node:fs/promises";
import { swapInLink } from "../../host/link-swap.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { carrierOf, fsPath, linkTarget, type OwnedSnapshot } from "../owned-state.ts";
import { label } from "../ownership.ts";
import type { InjectJob } from "./job.ts";
import { topChainID } from "./plan.ts";
import { sideBySide } from "./side-by-side.ts";

/**
 * Moves what an older disk of the same line and this one both hold to this one: each link is renamed over, so running containers keep the
 * old tree and new ones get the new. Then the labels follow. After that nothing but what runs holds the older disk for these images.
 */
export async function relinkToNewer(job: InjectJob): Promise<void> {
  const { node, open, state, carrier, meter, atStep } = job;
  const { line, sequence } = open.source;
  const trees = treesByName(job);
  const moving: { readonly snapshot: OwnedSnapshot; readonly tree: string }[] = [];
  for (const snapshot of state.owned.values()) {
    const tree = trees.get(snapshot.name);
    if (tree === undefined || snapshot.disk === open.disk.id) continue;
    const labels = state.snapshots.get(carrierOf(state, snapshot.disk)?.name ?? "")?.labels ?? {};
    const isOlder = labels[label.line] === line && Number(labels[label.sequence]) < sequence;
    // A disk without a carrier is gone for good.
    if (isOlder || labels[label.line] === undefined) moving.push({ snapshot, tree });
  }
  if (moving.length === 0) return;
  atStep("relink");
  await sideBySide(moving, async ({ snapshot, tree }) => {
    const path = node.local(fsPath(node, snapshot.number));
    // One that was materialized is a tree of the node's own.
    const before = await readlink(path).catch(() => undefined);
    if (before?.startsWith("../")) await swapInLink(path, linkTarget(carrier, tree));
  });
  await syncFilesystem(node.local(node.snapshotsFolder));
  atStep("relabel");
  await sideBySide(moving, async ({ snapshot, tree }) => {
    meter.count("label");
    await node.snapshotWriter.updateLabels(snapshot.name, { [label.disk]: open.disk.id, [label.tree]: tree });
  });
  const owned = new Set(moving.map(({ snapshot }) => snapshot.disk));
  const documents = new Set(
    open.disk.index.images.flatMap(({ target, manifest, config }) => [target.digest, manifest.digest, config.digest]),
  );
  await sideBySide(
    state.blobs.filter(({ digest, labels }) => documents.has(digest) && owned.has(labels[label.disk] ?? "")),
    async ({ digest }) => {
      meter.count("label");
      await node.in.contentManager.updateLabels(digest, { [label.disk]: open.disk.id });
    },
  );
  const targets = new Set(open.disk.index.images.map(({ target }) => target.digest));
  await sideBySide(
    [...state.images.values()].filter(
      ({ target, labels }) => targets.has(target.digest) && owned.has(labels[label.disk] ?? ""),
    ),
    async ({ name }) => {
      meter.count("record");
      await node.in.images.update(name, { labels: { [label.disk]: open.disk.id } });
    },
  );
}

/** The folder of this disk for each chainID: merged trees for the tops, layers below. */
export function treesByName({ open }: Pick<InjectJob, "open">): Map<string, string> {
  const trees = new Map<string, string>();
  for (const image of open.disk.index.images) {
    for (const { chainID, tree } of image.layers.slice(0, -1)) if (!trees.has(chainID)) trees.set(chainID, tree);
    const top = topChainID(image);
    if (top !== undefined && image.tree !== null) trees.set(top, image.tree);
  }
  return trees;
}
