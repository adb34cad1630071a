import assert from "node:assert/strict";
import { mkdir, readlink, unlink } from "node:fs/promises";
import { test } from "node:test";
import { mountedImage } from "../../../../test/support/disk-maker.ts";
import { mountErofs } from "../../../../test/support/mount.ts";
import { runPod } from "../../../../test/support/runtimes/cri-pod.ts";
import { eject, makeRichImage, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import { blobsAsked, fetchFrom, startImageRegistry } from "../../../../test/support/runtimes/fetching.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
} from "../../../../test/support/runtimes/injection.ts";
import { collectGarbage, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { compareTrees } from "../../../../test/support/tree-compare.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { carrierOf, fsPath, type OwnedSnapshot, readOwnedState } from "../owned-state.ts";

/** Images whose disk is gone for good while something stands on their snapshots. */

const namespace = "k8s.io";
const richName = "example.com/team/rich:v1";
const sleeping = ["/bin/sleep", "1000"];

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: an image is healed by fetching while a container of it runs on`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node, cri } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const rich = await makeRichImage(images);
    const registry = await startImageRegistry(scope, images.layout, { rich: rich.manifest });
    const { path, id } = await makeInjectionDisk(scope, images, { images: [[richName, rich]] });
    await injectPath(node, path);
    const pod = await runPod(daemon, cri, { image: richName, command: sleeping });
    await pod.exec("sh", "-c", "echo changed > /rich/a");
    const [top] = await ownedOf(node, "image");
    assert.ok(top !== undefined);
    await takeAway(node, id);
    await assert.rejects(daemon.run({ namespace, image: richName }), "nothing starts from an empty tree");

    await assert.rejects(
      fetchFrom(node, registry, "rich", {}, (step) => {
        if (step === "swap healed") throw new Error("killed");
      }),
      /killed/,
    );
    await mkdir(`${copyOf(node, top)}/rich/half`, { recursive: true });
    assert.equal((await fetchFrom(node, registry, "rich")).result, "fetched");
    assert.equal((await fetchFrom(node, registry, "rich")).result, "present");
    await collectGarbage(node);
    assert.equal(await readlink(fsPath(node, top.number)), "nodewarm-tree");
    assert.equal(await pod.exec("cat", "/rich/a", "/rich/old/new"), "changed\nnew\n");
    const fetched = `${registry.host}/team/rich@${rich.manifest.digest}`;
    assert.equal(await daemon.run({ namespace, image: fetched }), "first\n");
    const { tree } = await mountedImage(await mountErofs(scope, path), rich);
    // containerd makes the root folder itself, and now.
    const differences = compareTrees(tree, copyOf(node, top)).filter((each) => !each.startsWith("/: mtime"));
    assert.deepEqual(differences, []);

    await eject(node, { disks: [id] });
    assert.equal(await pod.exec("cat", "/rich/a"), "changed\n");
    assert.equal(await daemon.run({ namespace, image: fetched }), "first\n");
    await pod.remove();
    assert.equal(await daemon.run({ namespace, image: fetched }), "first\n");
    await cri.images.remove(fetched);
    const { snapshots, snapshotPaths, content } = await listNode(node);
    assert.doesNotMatch(JSON.stringify({ snapshots, snapshotPaths, content }), /nodewarm/);
  });

  test(`${runtime.name}: layers that an image of others stands on are healed by fetching it`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node, cri } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const rich = await makeRichImage(images);
    const registry = await startImageRegistry(scope, images.layout, { rich: rich.manifest, app: images.app.manifest });
    const { path, id } = await makeInjectionDisk(scope, images, { images: [[richName, rich]] });
    await injectPath(node, path);
    // Of four of the five layers there is a chain, the top of which the pull takes for its own image.
    await cri.images.pull(`${registry.host}/team/app:v1`);
    const pulled = `${registry.host}/team/app:v1`;
    assert.equal(await daemon.run({ namespace, image: pulled }), "variant 1\n");
    await takeAway(node, id);
    blobsAsked(registry);
    const before = await ownedOf(node, "layer");
    const report = await fetchFrom(node, registry, "app");
    assert.equal(report.result, "fetched");
    assert.equal(await daemon.run({ namespace, image: pulled }), "variant 1\n");
    assert.equal((await fetchFrom(node, registry, "app")).result, "present");
    assert.equal((await ownedOf(node, "layer")).length, before.length - images.app.layers.length);
  });

  test(`${runtime.name}: an empty folder that a power cut left in place of a link counts as nothing`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const registry = await startImageRegistry(scope, images.layout, { app: images.app.manifest });
    const { path } = await makeInjectionDisk(scope, images, { images: [[appName, images.app]] });
    await injectPath(node, path);
    const [top] = await ownedOf(node, "image");
    assert.ok(top !== undefined);
    await unlink(fsPath(node, top.number));
    await mkdir(fsPath(node, top.number));
    assert.equal((await fetchFrom(node, registry, "app")).result, "fetched");
    assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
  });
}

async function ownedOf(node: ContainerdNode, role: string): Promise<OwnedSnapshot[]> {
  return [...(await readOwnedState(node)).owned.values()].filter((snapshot) => snapshot.role === role);
}

function copyOf(node: ContainerdNode, { number }: OwnedSnapshot): string {
  return fsPath(node, number).replace(/fs$/, "nodewarm-tree");
}

/** As when a device is pulled out and its mounts are cleared away: what runs on it keeps it. */
async function takeAway(node: ContainerdNode, id: string): Promise<void> {
  const carrier = carrierOf(await readOwnedState(node), id);
  assert.ok(carrier !== undefined);
  await node.mounts.unmount(fsPath(node, carrier.number), { detach: true });
  await node.mounts.unmount(diskMountPoint(id), { detach: true });
}
