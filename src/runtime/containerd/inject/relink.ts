import { syncFilesystem } from "../../host/sync-filesystem.ts";
import type { Condition } from "../../runtime.ts";
import { sideBySide } from "../../side-by-side.ts";
import { layerImagePath, usesLayerImages } from "../layer-cache.ts";
import { carrierOf, type OwnedSnapshot } from "../owned-state.ts";
import { emptyName, label } from "../ownership.ts";
import { chainSnapshots } from "./chain-snapshots.ts";
import type { InjectJob } from "./job.ts";
import { topChainID } from "./plan.ts";
import { putLink } from "./repair-links.ts";

/**
 * Moves what an older disk of the same line, or one that is away, and this one both hold to this one, once it is `shown` on its carrier: each
 * link is renamed over, so running containers keep the old tree and new ones get the new. Then the labels follow. After that nothing but what
 * runs holds the older disk for these images. The result is that of `repairLinks`.
 */
export async function relinkToNewer(job: InjectJob, shown: Promise<unknown>): Promise<Map<string, Condition>> {
  const { node, open, state, meter, atStep } = job;
  const occupied = new Map<string, Condition>();
  const treeOf = treesFor(job);
  const moving: { readonly snapshot: OwnedSnapshot; readonly tree: string }[] = [];
  for (const snapshot of state.owned.values()) {
    const tree = treeOf(snapshot);
    if (tree !== undefined && passesTo(job, snapshot.disk)) moving.push({ snapshot, tree });
  }
  if (moving.length > 0) {
    // What works on the older one must not lead to a folder that is empty yet.
    await shown;
    await sideBySide(moving, async ({ snapshot, tree }) => {
      const result = usesLayerImages(node) ? "present" : await putLink(job, snapshot, tree);
      if (typeof result === "object") occupied.set(snapshot.name, result);
    });
    atStep("sync links");
    await syncFilesystem(node.local(node.snapshotsFolder));
  }
  await sideBySide(moving, async ({ snapshot, tree }) => {
    atStep("relabel");
    meter.count("label");
    await node.snapshotWriter.updateLabels(snapshot.name, { [label.disk]: open.disk.id, [label.tree]: tree });
  });
  const documents = new Set(
    open.disk.index.images.flatMap(({ target, manifest, config }) => [target.digest, manifest.digest, config.digest]),
  );
  await sideBySide(
    state.blobs.filter(({ digest, labels }) => documents.has(digest) && passesTo(job, labels[label.disk])),
    async ({ digest }) => {
      atStep("relabel");
      meter.count("label");
      await node.in.contentManager.updateLabels(digest, { [label.disk]: open.disk.id });
    },
  );
  const targets = new Set(open.disk.index.images.map(({ target }) => target.digest));
  await sideBySide(
    [...state.images.values()].filter(
      ({ target, labels }) => targets.has(target.digest) && passesTo(job, labels[label.disk]),
    ),
    async ({ name }) => {
      atStep("relabel");
      meter.count("record");
      await node.in.images.update(name, { labels: { [label.disk]: open.disk.id } });
    },
  );
  return occupied;
}

/** Whether what is of the disk `owner` and on this one too becomes this one's: that is an older one of the line, or away. */
export function passesTo(
  { open, state, away }: Pick<InjectJob, "open" | "state" | "away">,
  owner: string | undefined,
): boolean {
  if (owner === undefined || owner === open.disk.id) return false;
  if (away.has(owner)) return true;
  const carrier = carrierOf(state, owner);
  if (carrier === undefined) return true;
  const { [label.line]: line, [label.sequence]: sequence } = state.snapshots.get(carrier.name)?.labels ?? {};
  return line === open.source.line && Number(sequence) < open.source.sequence;
}

/**
 * The folder of this disk for a snapshot of ours; `undefined` when it has none. One name can stand for a merged tree on the empty snapshot
 * and, where another image has more layers above, for a layer on its parents: the two are not the same folder.
 */
function treesFor({ open, node }: InjectJob): (snapshot: OwnedSnapshot) => string | undefined {
  if (usesLayerImages(node)) {
    const all = open.disk.index.images.flatMap((image) => image.layers);
    const trees = new Map<string, string>(
      all.map(({ chainID, diffID }) => [chainID, `erofs/${layerImagePath(diffID)}`]),
    );
    return ({ name, tree }) => (tree === "" ? undefined : trees.get(name));
  }
  const merged = new Map<string, string>();
  const layers = new Map<string, string>();
  for (const image of open.disk.index.images) {
    for (const { name, tree } of chainSnapshots(image.layers)) layers.set(name, tree);
    const last = image.layers.at(-1);
    if (last !== undefined && !layers.has(last.chainID)) layers.set(last.chainID, last.tree);
    const top = topChainID(image);
    if (top !== undefined && image.tree !== null) merged.set(top, image.tree);
  }
  return ({ name, role, parent }) => {
    if (role === "layer") return layers.get(name);
    return role === "image" && parent === emptyName ? merged.get(name) : undefined;
  };
}
