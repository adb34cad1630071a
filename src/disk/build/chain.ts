import { hash } from "node:crypto";
import { ErofsError } from "../../filesystem/erofs/erofs-error.ts";
import { instantiate } from "../../filesystem/implied-directories.ts";
import type { LayerInstance } from "../../filesystem/layer-instance.ts";
import type { LayerTree } from "../../layers/layer-tree.ts";
import { type Digest, digestHex } from "../../oci/descriptor.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";

/** ChainIDs of a stack of layers, bottom first (OCI image spec, config, "Layer ChainID"). */
export function chainIDs(diffIDs: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffID of diffIDs) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffID : `sha256:${hash("sha256", `${below} ${diffID}`, "hex")}`);
  }
  return chain;
}

/** One layer tree of the disk. */
export type PlacedLayer = {
  readonly diffID: Digest;
  /** Path on the disk: `layers/<diffID hex>`, or `layers/<chainID hex>` where the tree depends on what is below. */
  readonly path: string;
  readonly instance: LayerInstance;
  /** The tree alone does not say what is the layer's own: see `IndexLayer.inherits`. */
  readonly inherits: boolean;
};

/** One image's layers from the bottom, and the tree that runs. */
export type PlacedChain = {
  readonly chainIDs: readonly Digest[];
  readonly layers: readonly PlacedLayer[];
  /** `undefined` for an image without layers. */
  readonly treePath: string | undefined;
};

/** What stands under `/layers` and `/images`. */
export class Chains {
  /** By path, without the folder. */
  readonly layers = new Map<string, PlacedLayer>();
  /** Merged trees by path. */
  readonly merged = new Map<string, PlacedChain>();
  readonly #trees: ReadonlyMap<Digest, LayerTree>;

  constructor(trees: ReadonlyMap<Digest, LayerTree>) {
    this.#trees = trees;
  }

  /** Adds an image's chain; throws `ErofsError` where a layer cannot stand on those below. */
  add(image: ResolvedImage): PlacedChain {
    const diffIDs = image.layers.map((layer) => layer.diffID);
    const ids = chainIDs(diffIDs);
    const layers: PlacedLayer[] = [];
    for (const [i, diffID] of diffIDs.entries()) {
      try {
        layers.push(this.#layer(diffID, ids[i], layers));
      } catch (error) {
        if (!(error instanceof ErofsError)) throw error;
        const { digest } = image.layers[i].descriptor;
        throw new ErofsError(error.code, `layer ${digest} (diffID ${diffID}): ${error.message}`, { cause: error });
      }
    }
    const top = ids.at(-1);
    const treePath = layers.length > 1 && top !== undefined ? `images/${digestHex(top)}` : layers[0]?.path;
    const chain = { chainIDs: ids, layers, treePath };
    if (layers.length > 1 && treePath !== undefined) this.merged.set(treePath, this.merged.get(treePath) ?? chain);
    return chain;
  }

  #layer(diffID: Digest, chainID: Digest, below: readonly PlacedLayer[]): PlacedLayer {
    const tree = this.#trees.get(diffID);
    if (tree === undefined) throw new Error(`layer ${diffID} was not read`);
    const dependsOnChain = tree.impliedDirectoryCount > 0 || tree.origins !== undefined;
    const path = `layers/${digestHex(dependsOnChain ? chainID : diffID)}`;
    const known = this.layers.get(path);
    if (known !== undefined) return known;
    const instance = instantiate(tree, below.map((layer) => layer.instance).reverse());
    const placed = { diffID, path, instance, inherits: tree.origins !== undefined || instance.tree !== tree };
    this.layers.set(path, placed);
    return placed;
  }
}
