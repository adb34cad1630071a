import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buildDisk } from "../../src/disk/build/build-disk.ts";
import type { BuildOptions, BuildReport } from "../../src/disk/build/contract.ts";
import { OldDisk } from "../../src/disk/build/old-disk/old-disk.ts";
import { verifyDisk } from "../../src/disk/verify/verify-disk.ts";
import { MemorySource } from "../../src/filesystem/byte-source.ts";
import type { MadeImage } from "./image-maker.ts";
import { imageOfLayout } from "./layout-image.ts";
import { mountErofs } from "./mount.ts";
import { run } from "./processes.ts";
import type { Scope } from "./temporary.ts";
import { walkTree } from "./tree-walk.ts";

export type TestBuildOptions = Partial<Omit<BuildOptions, "from">> & {
  /** An older disk, or the path of one. */
  readonly from?: OldDisk | string;
};

/** Builds `disk.erofs` in `directory` from images of an OCI layout, with options that tests rarely vary. */
export async function buildTestDisk(
  directory: string,
  layoutDirectory: string,
  images: readonly Pick<MadeImage, "manifest">[],
  { from, ...options }: TestBuildOptions = {},
): Promise<BuildReport> {
  const signal = options.signal ?? new AbortController().signal;
  const opened = typeof from === "string" ? await OldDisk.open(from, signal) : undefined;
  try {
    return await buildDisk({
      images: await Promise.all(
        images.map(({ manifest }, index) =>
          imageOfLayout(layoutDirectory, manifest, [`example.com/test/image:${index}`]),
        ),
      ),
      platform: { os: "linux", architecture: "amd64" },
      output: join(directory, "disk.erofs"),
      blobs: false,
      erofsCache: false,
      from: opened ?? (typeof from === "string" ? undefined : from),
      line: "test",
      sequence: undefined,
      createdSeconds: 1_700_000_000,
      limits: {},
      jobs: 2,
      builder: "nodewarm/test",
      signal,
      ...options,
    });
  } finally {
    await opened?.close();
  }
}

/** Asserts that `verify` finds nothing wrong with a disk, and that a build of the same images from it gives the same. */
export async function assertRebuilds(
  disk: BuildReport,
  layoutDirectory: string,
  images: readonly Pick<MadeImage, "manifest">[],
  options: TestBuildOptions = {},
): Promise<void> {
  assert.deepEqual((await verifyDisk(new MemorySource(await readFile(disk.path)))).problems, []);
  const again = await buildTestDisk(dirname(disk.path), layoutDirectory, images, {
    ...options,
    output: `${disk.path}.again`,
    from: disk.path,
  });
  assert.equal(again.id, disk.id);
  await rm(again.path);
}

/** What tests need of `/nodewarm.json`. */
export type MountedIndex = {
  readonly images: readonly {
    readonly names: readonly string[];
    readonly manifest: { readonly digest: string };
    readonly tree: string | null;
    readonly layers: readonly { readonly diffID: string; readonly chainID: string; readonly tree: string }[];
  }[];
};

/** Where a mounted disk has an image: the folder to run, and those of its layers from the bottom. */
export type MountedImage = { readonly tree: string; readonly layers: readonly string[] };

/** Finds an image by its manifest in the index of a mounted disk. */
export async function mountedImage(mountPoint: string, image: Pick<MadeImage, "manifest">): Promise<MountedImage> {
  const index: MountedIndex = JSON.parse(await readFile(join(mountPoint, "nodewarm.json"), "utf8"));
  const found = index.images.find(({ manifest }) => manifest.digest === image.manifest.digest);
  if (found === undefined) throw new Error(`the disk has no image ${image.manifest.digest}`);
  return {
    tree: join(mountPoint, found.tree ?? ""),
    layers: found.layers.map(({ tree }) => join(mountPoint, tree)),
  };
}

/** Mounts a disk after `fsck.erofs` has found nothing, and reads all of it; the mount point. */
export async function mountSound(scope: Scope, path: string): Promise<string> {
  await run("fsck.erofs", [path]);
  const mountPoint = await mountErofs(scope, path);
  readAll(mountPoint);
  return mountPoint;
}

/** Every path, xattr and byte below a folder; throws where the kernel cannot read one. Files by inode, once. */
export function readAll(root: string): { paths: number; bytes: number } {
  const seen = new Set<bigint>();
  let paths = 0;
  let bytes = 0;
  for (const { absolute, stats } of walkTree(root)) {
    paths++;
    // Sparse files of terabytes are legal.
    if (!stats.isFile() || stats.size > 1n << 30n || seen.has(stats.ino)) continue;
    seen.add(stats.ino);
    bytes += readFileSync(absolute).length;
  }
  return { paths, bytes };
}
