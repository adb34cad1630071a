import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { MadeImage } from "../../../../test/support/image-maker.ts";
import { run, waitUntil } from "../../../../test/support/processes.ts";
import type { ContainerdDaemon } from "../../../../test/support/runtimes/containerd-daemon.ts";
import { eject } from "../../../../test/support/runtimes/ejection.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import type { Scope } from "../../../../test/support/temporary.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import { layerCacheConfiguration, layerCacheFolder, layerImagePath } from "../layer-cache.ts";

const namespace = "k8s.io";
const runtime = (await containerdRuntimes()).find(({ version }) => version.startsWith("2.4."));

const skip = runtime === undefined ? "needs containerd 2.4" : (runtime.reason ?? false);

test("layer images of containerd's EROFS snapshotter move to the disk that stays, or go when nothing uses them", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { daemon, node } = await startWithLayerCache(scope);
  const images = await makeInjectionImages(scope);
  const first = await makeInjectionDisk(scope, images, { erofsCache: true });
  const second = await makeInjectionDisk(scope, images, { erofsCache: true, images: [[appName, images.app]] });
  const before = await listNode(node);
  await injectPath(node, first.path);
  await injectPath(node, second.path);
  const id = await daemon.runDetached({ namespace, image: toolName, command: ["/bin/sleep", "1000"] });
  await assert.rejects(eject(node, { disks: [first.id] }), new RegExp(`container ${id}`));
  await daemon.ctr("-n", namespace, "tasks", "delete", "--force", id);
  await daemon.ctr("-n", namespace, "containers", "delete", id);
  const { disks } = await eject(node, { disks: [first.id] });
  assert.deepEqual(disks, [{ id: first.id, isReleased: true, heldBy: [], removedImages: 2, materialized: 0 }]);
  assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
  await eject(node);
  assert.deepEqual(await listNode(node), before);
});

test("layer images in use are copied to the node, with containers running, wherever the call is killed before", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { daemon, node } = await startWithLayerCache(scope);
  const images = await makeInjectionImages(scope);
  const disk = await makeInjectionDisk(scope, images, { erofsCache: true });
  const before = await listNode(node);
  await injectPath(node, disk.path);
  const id = await daemon.runDetached({ namespace, image: toolName, command: ["/bin/sleep", "1000"] });
  const expected = await sha256(join(diskMountPoint(disk.id), "erofs", imageOf(images.tool)));
  const link = join(layerCacheFolder(node), imageOf(images.tool));
  assert.ok((await lstat(link)).isSymbolicLink());

  const parts = [link, `${link}-of-another`].map((path) => `${path}.nodewarm-part`);
  for (const part of parts) await writeFile(part, "half");
  const fail = (step: string) => {
    if (step !== "copy-layer-image") return;
    for (const part of parts) assert.ok(!existsSync(part), "what a killed call left takes no room from the next");
    throw new Error("no room");
  };
  await assert.rejects(eject(node, { materialize: true }, fail), /no room/);
  const steps = ["copy-layer-image", "sync-layer-images", "swap-layer-image", "give-back-snapshot", "remove-record"];
  for (const step of [...steps, "remove-layer-links", "unmount-carrier", "remove-carrier"]) {
    const materialize = eject(node, { materialize: true }, (reached) => {
      if (reached === step) throw new Error(`killed at ${step}`);
    });
    await assert.rejects(materialize, new RegExp(`killed at ${step}`), `${step} was not reached`);
    assert.equal(await daemon.run({ namespace, image: toolName, command: ["/bin/echo", step] }), `${step}\n`);
  }
  const { disks } = await eject(node, { materialize: true });
  assert.deepEqual(
    disks.map(({ isReleased }) => isReleased),
    [false],
  );
  assert.equal(
    (await table(node)).some(({ mountPoint }) => mountPoint === diskMountPoint(disk.id)),
    false,
  );
  assert.ok((await lstat(link)).isFile());
  assert.equal(await sha256(link), expected);

  // What ran before runs on, what is started now stands on the copy, and a restart changes nothing.
  assert.match(await daemon.ctr("-n", namespace, "tasks", "exec", "--exec-id", "e", id, "/bin/ls", "/bin"), /sleep/);
  await daemon.restart();
  const after = await openTestNode(scope, daemon);
  assert.equal(await daemon.run({ namespace, image: toolName, command: ["/bin/echo", "copy"] }), "copy\n");
  await assert.rejects(daemon.run({ namespace, image: appName }));

  await end(daemon, id);
  await waitUntil("the device is free", async () => (await run("losetup", ["-j", disk.path])).trim() === "");

  // Injected again, the disk takes the place of the copy, and gives it up for one again.
  await injectPath(after, disk.path);
  assert.ok((await lstat(link)).isSymbolicLink());
  await assert.rejects(eject(after), new RegExp(`image ${toolName}`));
  const second = await daemon.runDetached({ namespace, image: toolName, command: ["/bin/sleep", "1000"] });
  const again = await eject(after, { materialize: true });
  assert.deepEqual(again.disks, [
    {
      id: disk.id,
      isReleased: false,
      heldBy: [{ kind: "container", name: second }],
      removedImages: 1,
      materialized: 0,
    },
  ]);
  assert.equal(await sha256(link), expected);
  await end(daemon, second);

  // The image of the lowest layer alone has come with it.
  for (const image of [images.tool, images.base])
    await daemon.ctr("-n", namespace, "images", "rm", "--sync", ...(await recordsOf(after, image)));
  await eject(after);
  assert.deepEqual(await listNode(after), before);
  await assert.rejects(lstat(layerCacheFolder(after)), { code: "ENOENT" });
});

async function end(daemon: ContainerdDaemon, container: string): Promise<void> {
  await daemon.ctr("-n", namespace, "tasks", "delete", "--force", container);
  await daemon.ctr("-n", namespace, "containers", "delete", container);
}

async function startWithLayerCache(scope: Scope): Promise<{ daemon: ContainerdDaemon; node: ContainerdNode }> {
  assert.ok(runtime !== undefined);
  const daemon = await runtime.start(scope, { snapshotter: "erofs" });
  await daemon.importRuntimeImages();
  const file = join(daemon.directory, "config.toml");
  const lines = layerCacheConfiguration(await openTestNode(scope, daemon));
  await writeFile(file, (await readFile(file, "utf8")).replace(lines.split("\n", 1)[0] ?? "", lines));
  await daemon.restart();
  return { daemon, node: await openTestNode(scope, daemon) };
}

/** The layer image of the lowest layer of an image. */
function imageOf({ layers }: MadeImage): string {
  assert.ok(layers[0] !== undefined);
  return layerImagePath(layers[0].diffID);
}

async function sha256(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

async function recordsOf(node: ContainerdNode, { manifest }: MadeImage): Promise<string[]> {
  const records = await node.in.images.list();
  return records.filter(({ target }) => target.digest === manifest.digest).map(({ name }) => name);
}

async function table(node: ContainerdNode): Promise<readonly { readonly mountPoint: string }[]> {
  return (await node.mounts.table()).entries;
}
