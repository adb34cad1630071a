import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, readlink, symlink } from "node:fs/promises";
import { dirname } from "node:path";
import { test } from "node:test";
import { run } from "../../../../test/support/processes.ts";
import { eject, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { importImage, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { temporaryDirectory } from "../../../../test/support/temporary.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, fsPath, readOwnedState } from "../owned-state.ts";
import { blobOnDisk, blobPath, readBlobLinks, removeOrphanLinks } from "./blob-links.ts";

/** Files of the content store serve all namespaces: none may be left with a link to a disk that has gone. */

const namespace = "k8s.io";
const userName = "example.com/user/app:v1";

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: a layer blob that is linked for one namespace and pulled by another is copied`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const started = await startInjectionNode(scope, runtime);
    const { daemon, node } = started;
    const other = await openTestNode(scope, daemon, "other");
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true, images: [[appName, images.app]] });
    await injectPath(other, path);
    // Finds the files there, and makes records of its own.
    await importImage(scope, started, images.layout, userName, images.app);
    await injectPath(node, path);
    const linked = new Set((await readBlobLinks(node)).map(({ digest }) => digest));
    assert.deepEqual(linked, new Set(images.app.layers.map(({ descriptor }) => descriptor.digest)));
    await assert.rejects(eject(other), /a layer blob of namespace k8s\.io/);
    await assert.rejects(
      eject(node),
      (error) => error instanceof Error && error.message.includes(` by image ${userName}`),
    );
    const here = await eject(node, { materialize: true });
    assert.deepEqual(
      here.disks.map(({ isReleased }) => isReleased),
      [false],
      "the other namespace has it",
    );
    assert.equal(await daemon.run({ namespace: "other", image: appName }), "variant 1\n");
    const there = await eject(other);
    assert.deepEqual(
      there.disks.map(({ isReleased }) => isReleased),
      [true],
    );
    assert.ok(!existsSync(diskMountPoint(id)));
    await daemon.ctr("-n", namespace, "images", "export", `${daemon.directory}/user.tar`, userName);
    assert.equal(await daemon.run({ namespace, image: userName }), "variant 1\n");
  });

  test(`${runtime.name}: blobs of a namespace that a disk is still injected into stay links`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const other = await openTestNode(scope, daemon, "other");
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    const before = await listNode(node);
    await injectPath(node, path);
    await injectPath(other, path);
    assert.deepEqual(
      (await eject(node)).disks.map(({ isReleased }) => isReleased),
      [false],
    );
    await daemon.ctr("-n", "other", "images", "export", `${daemon.directory}/other.tar`, appName);
    assert.equal(await daemon.run({ namespace: "other", image: appName }), "variant 1\n");
    assert.deepEqual(
      (await eject(other)).disks.map(({ isReleased }) => isReleased),
      [true],
    );
    assert.ok(!existsSync(diskMountPoint(id)));
    assert.deepEqual(await listNode(node), before);
  });

  test(`${runtime.name}: blobs of a namespace that has lost all else of a disk are copied`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const other = await openTestNode(scope, daemon, "other");
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    await injectPath(node, path);
    await injectPath(other, path);
    const digests = (await readBlobLinks(node)).map(({ digest }) => digest);
    await loseRecords(other, id, digests);
    await assert.rejects(eject(node), /a layer blob of namespace other/);
    const { disks } = await eject(node, { materialize: true });
    assert.deepEqual(
      disks.map(({ isReleased }) => isReleased),
      [true],
    );
    assert.ok(!existsSync(diskMountPoint(id)));
    for (const digest of digests) {
      const [read, file] = [
        await Array.fromAsync(other.in.content.read(digest)),
        await readFile(blobPath(node, digest)),
      ];
      assert.ok(file.length > 0 && Buffer.concat(read).equals(file));
    }
  });

  test(`${runtime.name}: ejected from two namespaces at once, blobs are copied for a third`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const other = await openTestNode(scope, daemon, "other");
    const third = await openTestNode(scope, daemon, "third");
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    for (const each of [node, other, third]) await injectPath(each, path);
    const digests = (await readBlobLinks(node)).map(({ digest }) => digest);
    assert.ok(digests.length > 0);
    await loseRecords(third, id, digests);
    await Promise.all([node, other].map((each) => eject(each, { materialize: true })));
    assert.ok(!existsSync(diskMountPoint(id)));
    for (const digest of digests) {
      const file = await readFile(blobPath(node, digest));
      assert.equal(`sha256:${hash("sha256", file)}`, digest);
    }
    const names = await readdir(dirname(node.local(node.blobsFolder)));
    assert.deepEqual(
      names.filter((name) => name.startsWith("nodewarm-")),
      [],
    );
  });

  test(`${runtime.name}: links that no namespace knows of are no users, and go`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    await injectPath(node, path);
    const known = await readBlobLinks(node);
    const digest: Digest = `sha256:${"0".repeat(64)}`;
    await symlink(blobOnDisk(id, digest), blobPath(node, digest));
    const links = await readBlobLinks(node);
    assert.deepEqual(new Set(links), new Set([...known, { digest, disk: id }]));
    const left = await removeOrphanLinks(node, links);
    assert.deepEqual(new Set(left), new Set(known));
    await assert.rejects(readlink(blobPath(node, digest)), /ENOENT/);
  });

  test(`${runtime.name}: a disk that cannot be read keeps no other from being ejected`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { images: [[appName, images.app]] });
    const others = await makeInjectionImages(scope, "2");
    const broken = await makeInjectionDisk(scope, others, { blobs: true, images: [[toolName, others.tool]] });
    await injectPath(node, broken.path);
    const carrier = carrierOf(await readOwnedState(node), broken.id);
    assert.ok(carrier !== undefined);
    const folder = await temporaryDirectory(scope, "foreign");
    // Foreign bytes, and an index that cannot be read at all.
    await mkdir(`${folder}/unreadable/nodewarm.json`, { recursive: true });
    await mkdir(`${folder}/foreign`);
    await run("sh", ["-c", 'printf "\\001\\002" > "$1"', "sh", `${folder}/foreign/nodewarm.json`]);
    for (const kind of ["foreign", "unreadable"]) {
      await injectPath(node, path);
      await run("mount", ["--bind", `${folder}/${kind}`, fsPath(node, carrier.number)]);
      try {
        const { disks } = await eject(node, { disks: [id] });
        assert.deepEqual(disks, [{ id, isReleased: true, heldBy: [], removedImages: 1, materialized: 0 }]);
      } finally {
        await run("umount", [fsPath(node, carrier.number)]);
      }
    }
    assert.equal(await daemon.run({ namespace, image: toolName }), "tool 2\n");
    assert.equal((await eject(node)).disks[0]?.isReleased, true);
  });
}

/** Leaves a namespace with the records of blobs alone. */
async function loseRecords(node: ContainerdNode, id: string, digests: readonly Digest[]): Promise<void> {
  for (const digest of digests) await node.in.contentManager.updateLabels(digest, { "containerd.io/gc.root": "test" });
  for (const { name } of await node.in.images.list()) await node.in.images.delete(name, { sync: true });
  const state = await readOwnedState(node);
  const carrier = carrierOf(state, id);
  assert.ok(carrier !== undefined);
  await run("umount", [fsPath(node, carrier.number)]);
  await node.snapshotWriter.remove(carrier.name);
}
