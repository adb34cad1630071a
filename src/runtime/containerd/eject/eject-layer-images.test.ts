import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
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
import { layerCacheConfiguration } from "../layer-cache.ts";

const namespace = "k8s.io";
const runtime = (await containerdRuntimes()).find(({ version }) => version.startsWith("2.4."));

test("layer images of containerd's EROFS snapshotter move to the disk that stays, or go when nothing uses them", {
  skip: runtime === undefined ? "needs containerd 2.4" : (runtime.reason ?? false),
}, async () => {
  assert.ok(runtime !== undefined);
  await using scope = new AsyncDisposableStack();
  const daemon = await runtime.start(scope, { snapshotter: "erofs" });
  await daemon.importRuntimeImages();
  const file = join(daemon.directory, "config.toml");
  const lines = layerCacheConfiguration(await openTestNode(scope, daemon));
  await writeFile(file, (await readFile(file, "utf8")).replace(lines.split("\n", 1)[0] ?? "", lines));
  await daemon.restart();
  const node = await openTestNode(scope, daemon);
  const images = await makeInjectionImages(scope);
  const first = await makeInjectionDisk(scope, images, { erofsCache: true });
  const second = await makeInjectionDisk(scope, images, { erofsCache: true, images: [[appName, images.app]] });
  const before = await listNode(node);
  await injectPath(node, first.path);
  await injectPath(node, second.path);
  const id = await daemon.runDetached({ namespace, image: toolName, command: ["/bin/sleep", "1000"] });
  await assert.rejects(eject(node, { disks: [first.id] }), new RegExp(`container ${id}`));
  await assert.rejects(eject(node, { disks: [first.id], materialize: true }), /cannot be copied/);
  await daemon.ctr("-n", namespace, "tasks", "delete", "--force", id);
  await daemon.ctr("-n", namespace, "containers", "delete", id);
  const { disks } = await eject(node, { disks: [first.id] });
  assert.deepEqual(disks, [{ id: first.id, isReleased: true, heldBy: [], removedImages: 2, materialized: 0 }]);
  assert.equal(await daemon.run({ namespace, image: appName }), "variant 1\n");
  await eject(node);
  assert.deepEqual(await listNode(node), before);
});
