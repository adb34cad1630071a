import { placeDirectories, writeDirectories } from "../../filesystem/erofs/writer/directories.ts";
import { type ContentPlaces, writeLeafInodes } from "../../filesystem/erofs/writer/leaf-inodes.ts";
import type { MetadataArea } from "../../filesystem/erofs/writer/metadata-area.ts";
import { layerView, mergedView, type TreeView } from "../../filesystem/tree-view.ts";
import type { LayerTree } from "../../layers/layer-tree.ts";
import type { Digest } from "../../oci/descriptor.ts";
import type { Chains, PlacedLayer } from "./chain.ts";

const byText = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/**
 * Writes the inodes of all layers, the directories of all layer trees and of all merged trees; returns the NID of each tree's root by
 * path. `parentNid` gives the NID of `layers` and `images`.
 */
export async function writeTrees(
  area: MetadataArea,
  trees: ReadonlyMap<Digest, LayerTree>,
  chains: Chains,
  contents: ContentPlaces,
  parentNid: (folder: string) => number,
): Promise<ReadonlyMap<string, number>> {
  const rootNids = new Map<string, number>();
  const leafNids = new Map<LayerTree, Uint32Array>();
  const writeView = async (path: string, view: TreeView, nids: readonly Uint32Array[]): Promise<void> => {
    const places = await placeDirectories(area, view);
    await writeDirectories(area, view, places, nids, parentNid(path.slice(0, path.indexOf("/"))));
    rootNids.set(path, places.nids[0]);
  };
  const nidsOf = ({ instance: { tree }, path }: PlacedLayer): Uint32Array => {
    const nids = leafNids.get(tree);
    if (nids === undefined) throw new Error(`${path} has no inodes`);
    return nids;
  };
  const placed = [...chains.layers].sort(byText).map(([, layer]) => layer);
  const used = new Set(placed.map(({ instance }) => instance.tree));
  // First those that all chains share, then those of chains that have made something else of a layer.
  const shared = [...trees].sort(byText).map(([, tree]) => tree);
  for (const tree of new Set([...shared.filter((each) => used.has(each)), ...used]))
    leafNids.set(tree, await writeLeafInodes(area, tree, contents));
  for (const layer of placed) await writeView(layer.path, layerView(layer.instance), [nidsOf(layer)]);
  for (const [path, { layers }] of [...chains.merged].sort(byText)) {
    const fromTop = [...layers].reverse();
    await writeView(path, mergedView(fromTop.map(({ instance }) => instance)), fromTop.map(nidsOf));
  }
  return rootNids;
}
