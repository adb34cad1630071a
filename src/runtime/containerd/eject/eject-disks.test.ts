import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { run } from "../../../../test/support/processes.ts";
import { eject, makeRichImage, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import {
  appName,
  baseName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { collectGarbage, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { readOwnedState } from "../owned-state.ts";

const namespace = "k8s.io";
const richName = "example.com/team/rich:v1";

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: after inject and eject a node is what it was`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, {
      blobs: true,
      images: [
        [appName, images.app],
        [baseName, images.base],
        [richName, await makeRichImage(images)],
      ],
    });
    const before = await listNode(node);
    for (const disks of [undefined, [id]]) {
      await injectPath(node, path);
      const injected = await listNode(node);
      assert.ok(
        injected.blobPaths.some((line) => line.includes(" -> /run/nodewarm/")),
        "layer blobs are links",
      );
      assert.equal(injected.mounts.length, 1, "the carrier");
      assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
      const report = await eject(node, disks === undefined ? {} : { disks });
      assert.deepEqual(report, { disks: [{ id, isReleased: true, heldBy: [], removedImages: 3, materialized: 0 }] });
      assert.deepEqual(await listNode(node), before);
      assert.ok(!existsSync(diskMountPoint(id)));
      assert.equal(await loopDevicesOf(path), "");
    }
    await assert.rejects(eject(node, { disks: [id] }), (error) => isRuntimeError(error, "not-found"));
    assert.deepEqual(await eject(node), { disks: [] });
  });

  test(`${runtime.name}: what another disk holds too stays, and moves to it`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const before = await listNode(node);
    const first = await makeInjectionDisk(scope, images, { blobs: true });
    const second = await makeInjectionDisk(scope, images, {
      blobs: true,
      images: [
        [appName, images.app],
        [toolName, images.tool],
      ],
    });
    await injectPath(node, first.path);
    await injectPath(node, second.path);
    const { disks } = await eject(node, { disks: [first.id] });
    assert.deepEqual(disks, [{ id: first.id, isReleased: true, heldBy: [], removedImages: 1, materialized: 0 }]);
    assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
    assert.equal(await daemon.run({ namespace, image: toolName }), "tool 1\n");
    await assert.rejects(daemon.run({ namespace, image: baseName }), /not found/);
    assert.doesNotMatch(JSON.stringify(await listNode(node)), new RegExp(first.id));
    await daemon.ctr("-n", namespace, "content", "get", images.app.layers[0]?.descriptor.digest ?? "");
    // The chain that stood on the other disk's image is made again.
    const chains = await injectPath(node, second.path);
    assert.deepEqual(
      chains.images.map(({ chain }) => chain),
      ["complete", "complete"],
    );
    await eject(node);
    assert.deepEqual(await listNode(node), before);
  });

  test(`${runtime.name}: snapshots go too whose children a collection has taken already`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const before = await listNode(node);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true, images: [[appName, images.app]] });
    await injectPath(node, path);
    const { snapshots } = await readOwnedState(node);
    const top = [...snapshots.values()].find(
      ({ name, parent }) => parent.startsWith("sha256:") && name.startsWith("sha256:"),
    );
    assert.ok(top !== undefined);
    // Nothing leads to what is made now: the collection takes it, and containerd does not tell its parent.
    await node.snapshotWriter.prepare("child", { parent: top.name });
    await collectGarbage(node);
    const { disks } = await eject(node, { signal: AbortSignal.timeout(20_000) });
    assert.deepEqual(disks, [{ id, isReleased: true, heldBy: [], removedImages: 1, materialized: 0 }]);
    assert.deepEqual(await listNode(node), before);
  });

  test(`${runtime.name}: a layer blob that another namespace shares is copied before the disk goes`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { blobs: true });
    await injectPath(node, path);
    const [layer] = images.base.layers;
    assert.ok(layer !== undefined);
    const { digest, size } = layer.descriptor;
    const other = node.client.withNamespace("other");
    await other.contentWriter.claim({ digest, sizeBytes: size, labels: { "containerd.io/gc.root": "test" } });
    await assert.rejects(eject(node), /a layer blob of namespace other/);
    const report = await eject(node, { materialize: true });
    assert.equal(report.disks[0]?.isReleased, true);
    const read = await Array.fromAsync(other.content.read(digest));
    assert.equal(Buffer.concat(read).length, size);
    assert.ok(!existsSync(diskMountPoint(id)));
  });
}

async function loopDevicesOf(path: string): Promise<string> {
  return run("losetup", ["--noheadings", "--output", "NAME", "--associated", path]);
}
