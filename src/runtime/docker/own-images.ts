import type { Digest } from "../../oci/descriptor.ts";
import type { EngineImage } from "./engine-client.ts";
import type { GraphStore } from "./graph-store.ts";
import { type LayerState, type NamedImages, readLayerState, readNamedImages } from "./layer-folder.ts";
import { type OwnConfig, readOwnConfig } from "./synthetic-image.ts";

/** An image that stands for one of a disk. */
export type OwnImage = {
  readonly id: Digest;
  /** All that it has now. */
  readonly tags: readonly string[];
  readonly config: OwnConfig;
  readonly layerFolder: string;
  readonly layer: LayerState;
  /** All images of ours on the layer, and the tags we gave them. */
  readonly named: NamedImages;
};

/** `undefined` when the image is none of ours, or is being removed. */
export async function readOwnImage(store: GraphStore, { id, tags }: EngineImage): Promise<OwnImage | undefined> {
  const bytes = await store.imageConfig(id);
  const config = bytes && readOwnConfig(bytes);
  if (config === undefined) return undefined;
  const layerFolder = await store.layerFolder(config.diffID);
  if (layerFolder === undefined) return undefined;
  const [layer, named] = await Promise.all([readLayerState(layerFolder), readNamedImages(layerFolder)]);
  return { id, tags, config, layerFolder, layer, named };
}

/** Whether Nodewarm gave an image a tag that it has. */
export function isOwnTag({ id, named }: OwnImage, tag: string): boolean {
  return named.get(id)?.names.includes(tag) === true;
}
