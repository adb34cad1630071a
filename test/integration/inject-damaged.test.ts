import assert from "node:assert/strict";
import { copyFile, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { DiskReader } from "../../src/disk/reader/disk-reader.ts";
import { digestHex } from "../../src/oci/descriptor.ts";
import { collectGarbage } from "../../src/runtime/containerd/eject/collect-garbage.ts";
import { readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { emptyName, label } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { readDiskSource } from "../../src/runtime/host/disk-source.ts";
import { outermostRuntimes } from "../support/runtimes/ejection.ts";
import { injectPath, makeInjectionDisk, makeInjectionImages } from "../support/runtimes/injection.ts";
import { startInjectionNode } from "../support/runtimes/injection-node.ts";
import { listNode } from "../support/runtimes/node-listing.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** What injection reads of a disk is verified before anything of it is claimed. */

const blockBytes = 4096;

for (const runtime of await outermostRuntimes()) {
  test(`${runtime.name}: one changed byte in what injection reads refuses the disk, and changes nothing`, {
    skip: runtime.reason ?? false,
  }, async (context) => {
    await using scope = new AsyncDisposableStack();
    const images = await makeInjectionImages(scope);
    const { path } = await makeInjectionDisk(scope, images);
    const { node } = await startInjectionNode(scope, runtime);
    const before = await listNode(node);
    const copy = join(await temporaryDirectory(scope, "damaged"), "disk.erofs");
    for (const [what, position] of await positions(path, [images.app, images.tool, images.base])) {
      await context.test(what, async () => {
        await copyFile(path, copy);
        await flip(copy, position);
        await assert.rejects(injectPath(node, copy));
        assert.deepEqual(await listNode(node), before);
      });
    }
    await copyFile(path, copy);
    const { images: injected } = await injectPath(node, copy);
    assert.ok(injected.every(({ result }) => result === "injected"));
  });
}

for (const runtime of await outermostRuntimes()) {
  test(`${runtime.name}: a disk that cannot be mounted leaves nothing but the snapshot that all stand on`, {
    skip: runtime.reason ?? false,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { path } = await makeInjectionDisk(scope, await makeInjectionImages(scope));
    const { node } = await startInjectionNode(scope, runtime);
    const mountPoint = diskMountPoint((await readDiskSource(path)).id);
    await mkdir(mountPoint, { recursive: true });
    const other = await temporaryDirectory(scope, "other");
    await node.mounts.bind(other, mountPoint);
    try {
      await assert.rejects(injectPath(node, path), { code: "occupied" });
    } finally {
      await node.mounts.unmount(mountPoint);
    }
    await collectGarbage(node);
    const { owned, unfinished, images } = await readOwnedState(node);
    assert.deepEqual([...owned.keys(), ...unfinished], [emptyName]);
    assert.deepEqual(
      images
        .values()
        .toArray()
        .filter(({ labels }) => labels[label.disk] !== undefined),
      [],
    );
    assert.deepEqual(await node.in.leases.list([`labels."${label.lease}"`]), []);
    const { images: injected } = await injectPath(node, path);
    assert.ok(injected.every(({ result }) => result === "injected"));
  });
}

type Documents = { readonly manifest: { readonly digest: string }; readonly config: { readonly digest: string } };

/** Places of bytes in the superblock, the index, the table of digests, and each document. */
async function positions(path: string, images: readonly Documents[]): Promise<[string, number][]> {
  const disk = await DiskReader.openPath(path);
  try {
    const places: [string, number][] = [
      ["the superblock's magic", 1024],
      ["the superblock's id", 1024 + 48],
      ["the superblock's count of blocks", 1024 + 36],
    ];
    const add = async (what: string, file: string) => {
      const { union, sizeBytes } = await disk.lookup(file);
      for (const [where, offset] of [
        ["beginning", 0],
        ["middle", Math.floor(sizeBytes / 2)],
        ["end", sizeBytes - 1],
      ] as const)
        places.push([`the ${where} of ${what}`, union * blockBytes + offset]);
    };
    await add("the index", "nodewarm.json");
    await add("the table of digests", "nodewarm.files");
    for (const [i, { manifest, config }] of images.entries()) {
      await add(`manifest ${i}`, blobOf(manifest.digest));
      await add(`config ${i}`, blobOf(config.digest));
    }
    return places;
  } finally {
    await disk.close();
  }
}

function blobOf(digest: string): string {
  return `blobs/sha256/${digestHex(digest as `sha256:${string}`)}`;
}

async function flip(path: string, position: number): Promise<void> {
  await using file = await open(path, "r+");
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 1;
  await file.write(byte, 0, 1, position);
}
