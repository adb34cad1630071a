import assert from "node:assert/strict";
import { mkdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { mountedImage } from "../../../../test/support/disk-maker.ts";
import { addLayer, makeImage } from "../../../../test/support/image-maker.ts";
import { mountErofs } from "../../../../test/support/mount.ts";
import { waitUntil } from "../../../../test/support/processes.ts";
import { runPod } from "../../../../test/support/runtimes/cri-pod.ts";
import { eject, makeRichImage, outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import { injectPath, makeInjectionDisk, makeInjectionImages } from "../../../../test/support/runtimes/injection.ts";
import { importImage, startInjectionNode } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { file, tar } from "../../../../test/support/tar-maker.ts";
import { compareTrees } from "../../../../test/support/tree-compare.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import type { EjectEvent } from "../../runtime.ts";
import { isRuntimeError } from "../../runtime-error.ts";
import { fsPath, readOwnedState } from "../owned-state.ts";

const namespace = "k8s.io";
const richName = "example.com/team/rich:v1";
const builtName = "example.com/team/built:v1";
const sleeping = ["/bin/sleep", "1000"];

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: containers keep their disk until they are gone, exited ones too`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, { images: [[richName, await makeRichImage(images)]] });
    const before = await listNode(node);
    await injectPath(node, path);
    const container = await daemon.runDetached({ namespace, image: richName, command: sleeping });
    const during = await listNode(node);
    await assert.rejects(eject(node), (error) => {
      assert.ok(isRuntimeError(error, "failed-precondition"));
      assert.match(error.message, new RegExp(`container ${container}.*--wait.*--materialize`));
      return true;
    });
    assert.deepEqual(await listNode(node), during);
    await daemon.ctr("-n", namespace, "tasks", "kill", "--signal", "SIGKILL", container);
    await waitUntil("the task has ended", async () =>
      daemon.ctr("-n", namespace, "tasks", "ls").then((text) => !text.includes("RUNNING")),
    );
    const events: EjectEvent[] = [];
    const waiting = eject(node, { wait: true, onEvent: (event) => events.push(event) });
    await waitUntil("it waits", async () => events.length === 1);
    assert.deepEqual(events, [{ type: "waiting", users: [{ kind: "container", name: container }] }]);
    await daemon.ctr("-n", namespace, "tasks", "delete", container);
    await daemon.ctr("-n", namespace, "containers", "delete", container);
    assert.deepEqual((await waiting).disks, [{ id, isReleased: true, heldBy: [], removedImages: 1, materialized: 0 }]);
    assert.deepEqual(await listNode(node), before);
  });

  test(`${runtime.name}: waiting ends with its signal`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const { path } = await makeInjectionDisk(scope, images);
    await injectPath(node, path);
    await daemon.runDetached({ namespace, image: "example.com/team/app:v1", command: sleeping });
    const controller = new AbortController();
    const waiting = eject(node, { wait: true, signal: controller.signal, onEvent: () => controller.abort("enough") });
    await assert.rejects(waiting, (reason) => reason === "enough");
  });

  test(`${runtime.name}: materialized trees are those of the disk, and outlast it`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const { daemon, node, cri } = await startInjectionNode(scope, runtime);
    const images = await makeInjectionImages(scope);
    const rich = await makeRichImage(images);
    const { path, id } = await makeInjectionDisk(scope, images, { images: [[richName, rich]] });
    await injectPath(node, path);
    const pod = await runPod(daemon, cri, { image: richName, command: sleeping });
    await pod.exec("sh", "-c", "echo changed > /rich/a");
    const top = [...(await readOwnedState(node)).owned.values()].find(({ role }) => role === "image");
    assert.ok(top !== undefined);
    // As a copy looks that was cut off.
    const copy = fsPath(node, top.number).replace(/fs$/, "nodewarm-tree");
    await mkdir(join(copy, "rich/half"), { recursive: true });
    const { disks } = await eject(node, { materialize: true });
    assert.deepEqual(
      disks.map(({ isReleased, materialized, removedImages }) => ({ isReleased, materialized, removedImages })),
      [{ isReleased: false, materialized: 1, removedImages: 0 }],
    );
    assert.deepEqual(disks[0]?.heldBy, [{ kind: "container", name: pod.containerID }]);
    // The running container is the one it was, and its image is the runtime's own now.
    assert.equal(await pod.exec("cat", "/rich/a", "/rich/old/new"), "changed\nnew\n");
    assert.equal(await readlink(fsPath(node, top.number)), "nodewarm-tree");
    const mounted = await mountErofs(scope, path);
    const { tree } = await mountedImage(mounted, rich);
    assert.deepEqual(compareTrees(tree, copy), []);
    assert.equal(await daemon.run({ namespace, image: richName }), "first\n");
    assert.equal((await cri.images.status(richName))?.isPinned ?? false, false);
    await pod.remove();
    assert.equal((await listNode(node)).mounts.length, 0);
    // The image goes as any other, and the tree with it.
    await cri.images.remove(richName);
    const { snapshots, snapshotPaths, content } = await listNode(node);
    assert.doesNotMatch(JSON.stringify({ snapshots, snapshotPaths, content }), /nodewarm/);
    assert.ok(!(await readFile("/proc/self/mountinfo", "utf8")).includes(diskMountPoint(id)));
  });

  test(`${runtime.name}: images that were built on layers of the disk are users, and get what they need`, {
    skip,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const started = await startInjectionNode(scope, runtime);
    const { daemon, node } = started;
    const images = await makeInjectionImages(scope);
    const { path, id } = await makeInjectionDisk(scope, images, {
      blobs: true,
      images: [[richName, await makeRichImage(images)]],
    });
    const layer = await addLayer(images.layout, { tar: tar(file("built", "built\n")) });
    const { platform } = images.app.manifest;
    assert.ok(platform !== undefined);
    const built = await makeImage(images.layout, {
      layers: [...images.app.layers, layer],
      platform,
      run: { Cmd: ["/bin/cat", "/built", "/data/variant"] },
    });
    await injectPath(node, path);
    await importImage(scope, started, images.layout, builtName, built);
    await assert.rejects(eject(node), (error) => {
      assert.ok(isRuntimeError(error, "failed-precondition"));
      assert.match(error.message, new RegExp(` by image ${builtName}[,;]`));
      return true;
    });
    const { disks } = await eject(node, { materialize: true });
    assert.deepEqual(disks, [{ id, isReleased: true, heldBy: [], removedImages: 1, materialized: 3 }]);
    assert.equal(await daemon.run({ namespace, image: builtName }), "built\nvariant 1\n");
    await daemon.ctr("-n", namespace, "images", "export", join(daemon.directory, "built.tar"), builtName);
    const { images: records, mounts } = await listNode(node);
    assert.doesNotMatch(JSON.stringify(records), /rich|nodewarm\.io/);
    assert.deepEqual(mounts, []);
    // With the next disk and back again.
    await injectPath(node, path);
    await eject(node);
    assert.equal(await daemon.run({ namespace, image: builtName }), "built\nvariant 1\n");
  });
}
