import { type Containerd, layerDirectories } from "./containerd.ts";
import { mountedImage } from "./disk-maker.ts";
import type { MadeImage } from "./image-maker.ts";
import { mountOverlay } from "./mount.ts";
import { compareTrees } from "./tree-compare.ts";

/**
 * How an image on a mounted disk differs from what containerd made of it: each layer's tree from containerd's folder; the
 * tree to run, and an overlay of the disk's own layer trees, from an overlay of containerd's folders.
 */
export async function compareImage(containerd: Containerd, mountPoint: string, image: MadeImage): Promise<string[]> {
  const unpacked = await layerDirectories(
    containerd,
    image.layers.map(({ diffID }) => diffID),
  );
  const onDisk = await mountedImage(mountPoint, image);
  const differences: string[] = [];
  const compare = (what: string, expected: string, actual: string): void => {
    const found = compareTrees(expected, actual, { impliedDirectories: true });
    differences.push(...found.map((line) => `${what}: ${line}`));
  };
  for (const [index, folder] of unpacked.entries()) compare(`layer ${index}`, folder, onDisk.layers[index]);
  if (unpacked.length > 1) {
    await using scope = new AsyncDisposableStack();
    const shown = await mountOverlay(scope, unpacked);
    compare("merged tree", shown, onDisk.tree);
    // Overlayfs takes no folder twice, and a layer that an image repeats is one folder.
    const isRepeated = new Set(onDisk.layers).size < onDisk.layers.length;
    if (!isRepeated) compare("overlay of the disk's layers", shown, await mountOverlay(scope, onDisk.layers));
  }
  return differences;
}
