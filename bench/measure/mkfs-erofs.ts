import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "../../src/oci/descriptor.ts";
import { type Containerd, layerDirectories } from "../../test/support/containerd.ts";
import { mountOverlay } from "../../test/support/mount.ts";
import { run } from "../suite/command.ts";
import type { StoredImage } from "../suite/image-store.ts";

/** Sizes of what `mkfs.erofs` makes of the trees that containerd unpacked. */
export type MkfsSizes = {
  /** One image of all layer trees. */
  readonly layerTreesBytes: number;
  /** The sum of one image for each merged tree. */
  readonly mergedTreesBytes: number;
};

/** Packs what `containerd` has in namespace `bench`: its layers, and each of `images` as overlayfs shows it. */
export async function measureMkfs(
  containerd: Containerd,
  work: string,
  images: readonly StoredImage[],
): Promise<MkfsSizes> {
  const snapshots = join(containerd.directory, "root/io.containerd.snapshotter.v1.overlayfs/snapshots");
  const layerTreesBytes = await packedBytes(work, snapshots);
  const inNamespace = { ...containerd, ctr: (...args: readonly string[]) => containerd.ctr("-n", "bench", ...args) };
  let mergedTreesBytes = 0;
  for (const image of images) {
    await using scope = new AsyncDisposableStack();
    const diffIDs = image.layers.map((layer) => layer.diffID as Digest);
    mergedTreesBytes += await packedBytes(
      work,
      await mountOverlay(scope, await layerDirectories(inNamespace, diffIDs)),
    );
  }
  return { layerTreesBytes, mergedTreesBytes };
}

async function packedBytes(work: string, folder: string): Promise<number> {
  const file = join(work, "mkfs.erofs.img");
  try {
    await run("mkfs.erofs", [file, folder]);
    return (await stat(file)).size;
  } finally {
    await rm(file, { force: true });
  }
}
