import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Descriptor, Digest } from "../../src/oci/descriptor.ts";
import type { ResolvedImage } from "../../src/oci/resolved-image.ts";
import { blobPath } from "./image-maker.ts";

/** An image of an OCI layout as a builder takes it, read straight from the layout's files. */
export async function imageOfLayout(
  layoutDirectory: string,
  manifest: Descriptor,
  names: readonly string[] = [],
): Promise<ResolvedImage> {
  const { platform = { os: "linux", architecture: "amd64" }, ...target } = manifest;
  const manifestBytes = await readFile(blobPath(layoutDirectory, manifest.digest));
  const document: { config: Descriptor; layers: Descriptor[] } = JSON.parse(manifestBytes.toString());
  const configBytes = await readFile(blobPath(layoutDirectory, document.config.digest));
  const config: { created?: string; rootfs: { diff_ids: Digest[] } } = JSON.parse(configBytes.toString());
  const layers = document.layers.map((descriptor, index) => {
    const diffID = config.rootfs.diff_ids[index];
    if (diffID === undefined) throw new Error(`layer ${index} has no diffID`);
    return { descriptor, diffID };
  });
  return {
    names,
    target,
    manifest: target,
    config: document.config,
    platform,
    createdSeconds: config.created === undefined ? undefined : Math.floor(Date.parse(config.created) / 1000),
    documents: [
      { descriptor: target, bytes: manifestBytes },
      { descriptor: document.config, bytes: configBytes },
    ],
    layers,
    async *openLayer(index, { signal, range: { offset, length } = { offset: 0, length: Number.POSITIVE_INFINITY } }) {
      const layer = layers[index];
      if (layer === undefined) throw new Error(`the image has no layer ${index}`);
      yield* createReadStream(blobPath(layoutDirectory, layer.descriptor.digest), {
        signal,
        highWaterMark: 1 << 18,
        start: offset,
        end: offset + length - 1,
      });
    },
  };
}
