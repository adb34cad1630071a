import assert from "node:assert/strict";
import { appendFile, readFile, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { buildTestDisk, mountedImage, mountSound, readAll } from "../support/disk-maker.ts";
import { type MadeImage, makeImage } from "../support/image-maker.ts";
import { attachLoopDevice, mountErofs, mountErofsFile } from "../support/mount.ts";
import { needs } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";
import { compareTrees } from "../support/tree-compare.ts";

/** The kernel and erofs-utils, not our own reader, say that a disk is sound. */

const skip = needs("fsck.erofs", "dump.erofs", "losetup");

test("a disk passes fsck.erofs and can be read to the last byte", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path, source, image } = await makeDisk(scope);
  const mountPoint = await mountSound(scope, path);
  assert.deepEqual(compareLayer(source, (await mountedImage(mountPoint, image)).layers[0] ?? ""), []);
  const said = await run("dump.erofs", ["-s", path]);
  assert.match(said, /magic number:\s+0xE0F5E1E2/i);
  assert.match(said, /features:.*sb_csum/i);
});

test("what follows the image on its file changes nothing", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path, source, image } = await makeDisk(scope);
  await appendFile(path, Buffer.alloc(1_234_567, 0xa5));
  const mountPoint = await mountSound(scope, path);
  assert.deepEqual(compareLayer(source, (await mountedImage(mountPoint, image)).layers[0] ?? ""), []);
});

test("a disk may lie on a larger device", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path, source, image } = await makeDisk(scope);
  const { size } = await stat(path);
  await truncate(path, size + (64 << 20));
  const device = await attachLoopDevice(scope, path);
  await run("fsck.erofs", [device]);
  const mountPoint = await mountErofs(scope, device);
  assert.deepEqual(compareLayer(source, (await mountedImage(mountPoint, image)).layers[0] ?? ""), []);
});

test("a disk with layer images and blobs can be mounted from its file alone", { skip }, async (context) => {
  await using scope = new AsyncDisposableStack();
  const { path, image } = await makeDisk(scope, true);
  const mountPoint = await mountErofsFile(scope, path).catch(() => undefined);
  if (mountPoint === undefined) return context.skip("this kernel mounts block devices only");
  assert.ok(readAll(mountPoint).bytes > 3_000_000);
  const blob = join(mountPoint, "blobs/sha256", image.manifest.digest.slice("sha256:".length));
  assert.equal(JSON.parse(await readFile(blob, "utf8")).schemaVersion, 2);
});

test("each layer image is an image of its own that the kernel mounts from within the mounted disk", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { path, source, image } = await makeDisk(scope, true);
  const mountPoint = await mountSound(scope, path);
  const hex = image.layers[0]?.diffID.slice("sha256:".length) ?? "";
  const layerImage = join(mountPoint, "erofs/sha256", hex.slice(0, 2), `${hex}.erofs`);
  await run("fsck.erofs", [layerImage]);
  assert.deepEqual(compareLayer(source, await mountErofs(scope, layerImage)), []);
});

/** containerd leaves out a tar's entry for the root, so its time is not that of the source. */
function compareLayer(source: string, tree: string): string[] {
  return compareTrees(source, tree, { impliedDirectories: true });
}

/** A disk with one image of one layer, and the folder that the layer was made of. */
async function makeDisk(scope: Scope, everything = false): Promise<{ path: string; source: string; image: MadeImage }> {
  const work = await temporaryDirectory(scope, "krn");
  const source = join(work, "source");
  const script = `
    umask 022; mkdir -p a/b/c empty many; echo text > a/file; ln a/file a/b/link; ln -s ../file a/b/symlink
    head -c 3000000 /dev/urandom > large; head -c 4096 /dev/zero > block; : > nothing; mkfifo fifo; mknod zero c 1 5
    i=0; while [ $i -lt 700 ]; do echo $i > many/a-rather-long-name-so-that-the-folder-takes-several-blocks-$i; i=$((i+1)); done
    truncate -s 5000000 sparse; printf end >> sparse
    setfattr -n user.a -v 0x00ff00 a; setfattr -n user.b -v "$(head -c 3000 /dev/zero | tr '\\0' x)" a/file
    chmod 6711 large; chown 70000:80000 many; touch -d 2001-02-03T04:05:06.789012345Z a/file large .`;
  await run("sh", ["-euc", `mkdir ${source}; cd ${source}; ${script}`]);
  const tar = join(work, "layer.tar");
  const options = ["--format=posix", "--xattrs", "--sparse", "--numeric-owner"];
  await run("tar", [...options, "-C", source, "-cf", tar, "."]);
  const image = await makeImage(join(work, "layout"), { layers: [{ tar }] });

  const { path } = await buildTestDisk(work, join(work, "layout"), [image], {
    erofsCache: everything,
    blobs: everything,
  });
  return { path, source, image };
}
