import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { startFaultRegistry } from "../../../../test/support/fault-registry.ts";
import { run, waitUntil } from "../../../../test/support/processes.ts";
import { eject, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { type InjectionNode, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { isRuntimeError } from "../../runtime-error.ts";

/** Tags that lead to what injection brought and are not its own: ejection must leave them working. */

const namespace = "k8s.io";
const copyName = "example.com/user/copy:v1";

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  for (const blobs of [false, true]) {
    test(`${runtime.name}: a tag that a pull has set again is a user of its disk${blobs ? " and its layer blobs" : ""}, and gets what it needs`, {
      skip,
    }, async () => {
      await using scope = new AsyncDisposableStack();
      const started = await startInjectionNode(scope, runtime);
      const { daemon, node, cri } = started;
      const images = await makeInjectionImages(scope);
      const tags = { "team/app:v1": images.app.manifest };
      const registry = await startFaultRegistry({ layoutDirectory: images.layout, tags });
      scope.defer(() => registry.stop());
      const pulled = `${registry.host}/team/app:v1`;
      const { path, id } = await makeInjectionDisk(scope, images, {
        blobs,
        images: [
          [pulled, images.app],
          [toolName, images.tool],
        ],
      });
      await injectPath(node, path);
      await cri.images.pull(pulled);
      await assertRefused(started, pulled);
      const { disks } = await eject(node, { materialize: true });
      assert.deepEqual(disks, [{ id, isReleased: true, heldBy: [], removedImages: 1, materialized: 1 }]);
      await assertOnItsOwn(started, id, path);
      assert.equal(await daemon.run({ namespace, image: pulled }), "variant 1\n");
      const status = await cri.images.status(pulled);
      assert.deepEqual([status?.id, status?.isPinned ?? false], [images.app.config.digest, false]);
      assert.equal(await cri.images.status(toolName), undefined);
      if (blobs) await daemon.ctr("-n", namespace, "images", "export", `${daemon.directory}/pulled.tar`, pulled);
      // As any other that was pulled.
      const before = await listNode(node);
      await injectPath(node, path);
      await eject(node);
      assert.deepEqual(await listNode(node), before);
      assert.equal(await daemon.run({ namespace, image: pulled }), "variant 1\n");
    });
  }

  test(`${runtime.name}: a tag that was copied from an injected one with its labels is the user's`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const started = await startInjectionNode(scope, runtime);
    const { daemon, node } = started;
    const images = await makeInjectionImages(scope);
    const before = await listNode(node);
    const { path, id } = await makeInjectionDisk(scope, images);
    await injectPath(node, path);
    await daemon.ctr("-n", namespace, "images", "tag", appName, copyName);
    const [copy] = await node.in.images.list([`name==${copyName}`]);
    // ctr 2 leaves them out.
    if (runtime.version.startsWith("1.")) assert.equal(copy?.labels["nodewarm.io/disk"], id);
    await assertRefused(started, copyName);
    // Waiting ends when it is gone.
    const waiting = eject(node, { wait: true });
    await daemon.ctr("-n", namespace, "images", "rm", copyName);
    assert.deepEqual((await waiting).disks, [{ id, isReleased: true, heldBy: [], removedImages: 3, materialized: 0 }]);
    assert.deepEqual(await listNode(node), before);

    await injectPath(node, path);
    await daemon.ctr("-n", namespace, "images", "tag", appName, copyName);
    await daemon.ctr("-n", namespace, "images", "rm", appName);
    await eject(node, { materialize: true });
    await assertOnItsOwn(started, id, path);
    assert.equal(await daemon.run({ namespace, image: copyName }), "variant 1\n");
    await assert.rejects(daemon.run({ namespace, image: appName }), /not found/);
  });

  test(`${runtime.name}: injection does not take a copied tag for its own`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const older = await makeInjectionDisk(scope, images, { line: "copied", images: [[appName, images.app]] });
    await injectPath(node, older.path);
    await daemon.ctr("-n", namespace, "images", "tag", appName, copyName);
    const newer = await makeInjectionDisk(scope, images, {
      line: "copied",
      sequence: 2,
      images: [
        [appName, images.app],
        [copyName, images.tool],
      ],
    });
    const report = await injectPath(node, newer.path);
    assert.deepEqual(
      report.images.map(({ conditions }) => conditions.map(({ type }) => type)),
      [[], ["TagKept"]],
    );
    assert.equal(await daemon.run({ namespace, image: copyName }), "variant 1\n");
  });
}

/** It says who, and changes nothing. */
async function assertRefused({ node }: InjectionNode, name: string): Promise<void> {
  const before = await listNode(node);
  await assert.rejects(eject(node), (error) => {
    assert.ok(isRuntimeError(error, "failed-precondition"));
    assert.ok(error.message.includes(` by image ${name};`), error.message);
    return true;
  });
  assert.deepEqual(await listNode(node), before);
}

/** Nothing of the disk, and no word of ours, is left. */
async function assertOnItsOwn({ node }: InjectionNode, id: string, path: string): Promise<void> {
  await waitUntil("the mount is gone", async () => !existsSync(diskMountPoint(id)));
  assert.equal(await run("losetup", ["--noheadings", "--output", "NAME", "--associated", path]), "");
  const { images, content, mounts, blobPaths } = await listNode(node);
  const ours = [...images, ...content].filter((line) => line.includes("nodewarm.io/"));
  assert.deepEqual(ours, []);
  // Versions that know pins pin the image of the sandboxes themselves.
  const pause = images.find((line) => line.startsWith("nodewarm.test/pause"))?.split(" ")[2] ?? "none";
  assert.deepEqual(
    images.filter((line) => line.includes("pinned") && !line.includes(pause)),
    [],
  );
  assert.deepEqual(mounts, []);
  assert.doesNotMatch(JSON.stringify(blobPaths), /->/);
}
