import { generatedTar } from "./contents.ts";
import type { SetGenerator, SuiteContext } from "./image-set.ts";
import type { StoredLayer } from "./image-store.ts";

const mib = 1 << 20;

/** Incompressible images of three sizes in one and in four layers, four files in each layer. */
export const syn6: SetGenerator = {
  name: "SYN-6",
  description: "10 MB, 100 MB, 1 GB incompressible in 1 and 4 layers",
  async make(context) {
    const images = [];
    const changed = [];
    for (const sizeMiB of context.scale === "full" ? [10, 100, 1000] : [1, 10, 50]) {
      for (const layers of [1, 4]) {
        const image = (version: string, versions: readonly string[]) =>
          makeImage(context, `${sizeMiB}mb-${layers}`, version, versions, (sizeMiB * mib) / layers);
        images.push(await image("v1", new Array(layers).fill("v1")));
        if (images.length === 2) changed.push(await image("v2", ["v1", "v1", "v1", "v2"]));
        else changed.push(images[images.length - 1]);
      }
    }
    return { images, changed };
  },
};

async function makeImage(
  context: SuiteContext,
  name: string,
  version: string,
  versions: readonly string[],
  layerBytes: number,
) {
  const layers: StoredLayer[] = [];
  for (const [index, layerVersion] of versions.entries()) {
    const seed = `syn-${name}-${index}-${layerVersion}`;
    const sizeBytes = Math.floor(layerBytes / 4);
    const files = [0, 1, 2, 3].map((file) => ({
      name: `data/${index}/file-${file}`,
      content: { kind: "random" as const, seed: `${seed}-${file}`, sizeBytes },
    }));
    layers.push(await context.store.layer(seed, () => generatedTar(files)));
  }
  return context.store.image(`syn/${name}:${version}`, layers, ["/data/0/file-0"]);
}
