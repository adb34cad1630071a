import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readdir, readlink, stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { mountAll } from "../../src/runtime/containerd/mount-all.ts";
import { carrierOf, fsPath, readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { carrierName, emptyName } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { type MadeImage, makeImage } from "../support/image-maker.ts";
import { run, waitUntil } from "../support/processes.ts";
import { runPod, runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
  toolName,
} from "../support/runtimes/injection.ts";
import { addNote, collectGarbage, type InjectionNode, startInjectionNode } from "../support/runtimes/injection-node.ts";

/** What a node does to injected images in its life: restarts, collections, removals. */

for (const runtime of await containerdRuntimes()) {
  describe(`injected images in the life of ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let disk: { readonly path: string; readonly id: string };
    let on: InjectionNode;

    before(async () => {
      images = await makeInjectionImages(scope);
      disk = await makeInjectionDisk(scope, images);
      on = await startInjectionNode(scope, runtime);
      await injectPath(on.node, disk.path);
    });
    after(() => scope.disposeAsync());

    const runApp = () => on.daemon.run({ image: appName, namespace: "k8s.io" });
    const carrierFolder = async () => {
      const carrier = carrierOf(await readOwnedState(on.node), disk.id);
      assert.ok(carrier);
      return fsPath(on.node, carrier.number);
    };
    /** As after a reboot: containerd starts, and nothing has mounted the disk yet. */
    const restartWithoutDisk = async () => {
      const carrier = await carrierFolder();
      await on.daemon.stop();
      for (const mountPoint of [carrier, diskMountPoint(disk.id)]) await run("umount", [mountPoint]);
      await on.daemon.start();
    };
    const assertFailsLoudly = async () => {
      assert.equal((await on.cri.images.status(appName))?.id, images.app.config.digest);
      await assert.rejects(runApp(), /no such file or directory|failed to stat parent/);
      await assert.rejects(runPod(on.daemon, on.cri, { image: appName }), /no such file or directory|failed to stat/);
    };

    test("started before the disk is mounted, containers fail loudly, and start once it is, with no restart", async () => {
      await restartWithoutDisk();
      await assertFailsLoudly();
      const report = await mountAll({ snapshotsFolders: [on.node.snapshotsFolder] });
      assert.deepEqual(
        report.disks.map(({ id, result, conditions }) => [id, result, conditions]),
        [[disk.id, "mounted", []]],
      );
      assert.equal(await runApp(), "variant 1\n");
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
    });

    test("injecting again mounts what is not mounted, too, and changes nothing else", async () => {
      await restartWithoutDisk();
      await assertFailsLoudly();
      const report = await injectPath(on.node, disk.path);
      assert.deepEqual(new Set(report.images.map(({ result }) => result)), new Set(["present"]));
      assert.equal(report.transactions, 2);
      assert.equal(await runApp(), "variant 1\n");
    });

    test("removing an image over CRI leaves nothing of it, and all of the disk", async () => {
      for (const name of [appName, toolName, baseName]) await on.cri.images.remove(name);
      await collectGarbage(on.node);
      const state = await readOwnedState(on.node);
      assert.deepEqual([...state.owned.keys()].sort(), [carrierName(disk.id), emptyName]);
      assert.deepEqual(state.blobs, []);
      assert.deepEqual(
        [...state.images.keys()].filter((name) => name.startsWith("example.com/")),
        [],
      );
      // The folders of the pause image, the probe and ours; collections on 1.6 and later remove the rest a moment after.
      await waitUntil("the folders are gone", async () => {
        const folders = await readdir(on.node.snapshotsFolder);
        return folders.length === state.snapshots.size;
      });
      assert.ok((await stat(`${await carrierFolder()}/nodewarm.json`)).isFile());
      assert.ok((await stat(`${diskMountPoint(disk.id)}/nodewarm.json`)).isFile());
    });

    test("injecting again brings removed images back", async () => {
      const report = await injectPath(on.node, disk.path);
      assert.deepEqual(
        report.images.map(({ result, chain }) => [result, chain]),
        Array(3).fill(["injected", "complete"]),
      );
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
      // One of them alone: what the others need stays.
      await on.cri.images.remove(appName);
      await collectGarbage(on.node);
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: toolName }), "tool 1\n");
      const again = await injectPath(on.node, disk.path);
      assert.deepEqual(
        again.images.map(({ result, chain }) => [result, chain]),
        [
          ["injected", "complete"],
          ["present", "complete"],
          ["present", "complete"],
        ],
      );
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
    });

    test("a storm of collections, while images and blobs are injected and afterwards, takes nothing", async () => {
      const { layout, base } = images;
      const many: [string, MadeImage][] = [];
      for (let i = 0; i < 12; i++) {
        const notes = [await addNote(layout, `low-${i}-${randomUUID()}`), await addNote(layout, `high-${i}`)];
        const input = { layers: [...base.layers, ...notes], platform, run: { Cmd: ["/bin/cat", `/high-${i}`] } };
        const image = await makeImage(layout, input);
        many.push([`example.com/storm/image:${i}`, image]);
      }
      const stormy = await makeInjectionDisk(scope, images, { images: many, blobs: true });
      let isOver = false;
      let collections = 0;
      const storm = Array.from({ length: 3 }, async () => {
        for (; !isOver; collections++) await collectGarbage(on.node);
      });
      const report = await injectPath(on.node, stormy.path).finally(() => {
        isOver = true;
      });
      await Promise.all(storm);
      assert.ok(collections > 3, `${collections} collections`);
      for (let i = 0; i < 10; i++) await collectGarbage(on.node);
      assert.deepEqual(
        report.images.map(({ result, chain }) => [result, chain]),
        Array(12).fill(["injected", "complete"]),
      );
      const again = await injectPath(on.node, stormy.path);
      assert.equal(again.transactions, 2, "nothing was missing");
      const state = await readOwnedState(on.node);
      const ours = [...state.owned.values()].filter(({ disk: owner, tree }) => owner === stormy.id && tree !== "");
      assert.equal(ours.length, 12 * 2);
      for (const { number } of ours) assert.ok((await stat(fsPath(on.node, number))).isDirectory());
      const blobs = many.flatMap(([, { layers }]) => layers.slice(1).map(({ descriptor }) => descriptor.digest));
      for (const digest of blobs)
        assert.match(
          await readlink(`${on.node.blobsFolder}/sha256/${digest.slice("sha256:".length)}`),
          new RegExp(stormy.id),
        );
      assert.equal(await on.daemon.run({ image: "example.com/storm/image:7", namespace: "k8s.io" }), "high-7\n");
    });
  });
}
