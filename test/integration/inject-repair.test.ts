import assert from "node:assert/strict";
import { mkdir, readFile, readlink, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { digestHex } from "../../src/oci/descriptor.ts";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { topChainID } from "../../src/runtime/containerd/inject/plan.ts";
import { fsPath, readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { label } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { openDiskSource } from "../../src/runtime/host/disk-source.ts";
import { assertComplete, injectedOutputs, startListed } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../support/runtimes/injection.ts";
import { collectGarbage } from "../support/runtimes/injection-node.ts";

/** What stands where the links to the disk should be, as after a power cut or a stranger's hand, never becomes part of a container silently. */

const all = [...injectedOutputs().keys()];

for (const runtime of await containerdRuntimes()) {
  if (runtime.version.startsWith("1.7.") || runtime.version.startsWith("2.1.")) continue;
  describe(`inject again into ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let node: ContainerdNode;
    let images: InjectionImages;
    let disk: { readonly path: string; readonly id: string };

    before(async () => {
      images = await makeInjectionImages(scope);
      disk = await makeInjectionDisk(scope, images, { blobs: true });
      daemon = await runtime.start(scope);
      node = await openTestNode(scope, daemon);
      await injectPath(node, disk.path);
    });
    after(() => scope.disposeAsync());

    async function fsOf(role: "image" | "layer"): Promise<string[]> {
      const { owned } = await readOwnedState(node);
      return [...owned.values()].filter((each) => each.role === role).map(({ number }) => fsPath(node, number));
    }

    async function fsOfTop(name: string): Promise<string> {
      const open = await openDiskSource(disk.path);
      const image = open.disk.index.images.find(({ names }) => names.includes(name));
      await open.disk.close();
      assert.ok(image);
      const { owned } = await readOwnedState(node);
      return fsPath(node, owned.get(topChainID(image) ?? "")?.number ?? "");
    }

    async function becomesRight(): Promise<void> {
      await assertComplete(node, await injectPath(node, disk.path));
      assert.deepEqual(await startListed(daemon, node), all);
    }

    test("empty folders in place of links become links again", async () => {
      const folders = [...(await fsOf("image")), ...(await fsOf("layer"))];
      const links = await Promise.all(folders.map((fs) => readlink(fs)));
      for (const fs of folders) {
        await unlink(fs);
        await mkdir(fs);
      }
      await becomesRight();
      assert.deepEqual(await Promise.all(folders.map((fs) => readlink(fs))), links);
    });

    test("links to another tree, links to nothing and missing folders too", async () => {
      const [app, tool, base] = await Promise.all([appName, toolName, baseName].map(fsOfTop));
      assert.ok(app && tool && base);
      const toolTree = await readlink(tool);
      await unlink(app);
      await symlink(toolTree, app);
      await unlink(tool);
      await symlink("../999999/fs/images/none", tool);
      await rm(base.slice(0, -"/fs".length), { recursive: true });
      await assert.rejects(daemon.run({ image: toolName, namespace: "k8s.io" }));
      await assert.rejects(daemon.run({ image: baseName, namespace: "k8s.io" }));
      await becomesRight();
    });

    test("links of layer blobs that are gone come back", async () => {
      const [layer] = images.app.layers;
      assert.ok(layer);
      const digest = layer.descriptor.digest;
      const path = `${node.blobsFolder}/sha256/${digestHex(digest)}`;
      await unlink(path);
      await becomesRight();
      assert.equal(await readlink(path), `${diskMountPoint(disk.id)}/blobs/sha256/${digestHex(digest)}`);
      assert.ok((await readFile(path)).length > 0);
    });

    test("documents that are gone from the content store come back, be it their record or their file", async () => {
      const { manifest, config } = images.tool;
      for (const { digest } of [manifest, config]) {
        await node.in.contentManager.delete(digest);
        await becomesRight();
        assert.equal((await node.in.content.info(digest)).labels[label.disk], disk.id);
        const path = `${node.blobsFolder}/sha256/${digestHex(digest)}`;
        const before = await readFile(path);
        await rm(path);
        const report = await injectPath(node, disk.path);
        assert.equal(report.images.find(({ names }) => names.includes(toolName))?.result, "injected");
        assert.deepEqual(await readFile(path), before);
        await becomesRight();
      }
      const report = await injectPath(node, disk.path);
      assert.ok(report.images.every(({ result }) => result === "present"));
    });

    test("documents come back with the snapshots that are collected meanwhile", async () => {
      const { manifest, config } = images.tool;
      for (let round = 0; round < 40; round++) {
        await node.in.contentManager.delete((round % 2 === 0 ? config : manifest).digest);
        // At another moment of the injection each time.
        const collected = sleep(3 * round).then(() => collectGarbage(node));
        const { images: injected } = await injectPath(node, disk.path);
        await collected;
        assert.equal(injected.find(({ names }) => names.includes(toolName))?.result, "injected");
        assert.match(await readlink(await fsOfTop(toolName)), /\/fs\/images\//, `round ${round}`);
      }
      await becomesRight();
    });

    test("a folder with something in it withdraws its image and is kept, and the next call brings the image back", async () => {
      const fs = await fsOfTop(toolName);
      const running = await daemon.runDetached({
        image: toolName,
        namespace: "k8s.io",
        command: ["/bin/sleep", "600"],
      });
      await unlink(fs);
      await mkdir(fs);
      await writeFile(`${fs}/tool`, "not the tool\n");

      const report = await injectPath(node, disk.path);
      const tool = report.images.find(({ names }) => names.includes(toolName));
      assert.equal(tool?.result, "skipped");
      assert.deepEqual(
        tool.conditions.map(({ type }) => type),
        ["SnapshotOccupied"],
      );
      assert.ok(report.conditions.some(({ message }) => message.includes(fs)));
      assert.deepEqual(
        await startListed(daemon, node),
        all.filter((name) => name !== toolName),
      );
      assert.equal(await readFile(`${fs}/tool`, "utf8"), "not the tool\n");
      assert.equal(
        (await injectPath(node, disk.path)).images.find(({ names }) => names.includes(toolName))?.result,
        "skipped",
      );

      await daemon.ctr("--namespace", "k8s.io", "task", "rm", "--force", running);
      await daemon.ctr("--namespace", "k8s.io", "container", "rm", running);
      await node.in.leases.create("collect");
      await node.in.leases.delete("collect", { sync: true });
      await becomesRight();
    });
  });
}
