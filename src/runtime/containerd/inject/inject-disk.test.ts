import assert from "node:assert/strict";
import { readFile, rename, symlink, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { ContainerdDaemon } from "../../../../test/support/runtimes/containerd-daemon.ts";
import { connectCri, runPodToEnd } from "../../../../test/support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import type { CriClient } from "../client/cri/cri-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";

for (const runtime of await containerdRuntimes()) {
  describe(`inject into ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let node: ContainerdNode;
    let cri: CriClient;
    let images: InjectionImages;
    let path: string;

    before(async () => {
      images = await makeInjectionImages(scope);
      ({ path } = await makeInjectionDisk(scope, images));
      daemon = await runtime.start(scope);
      await daemon.importRuntimeImages();
      node = await openTestNode(scope, daemon);
      cri = connectCri(scope, daemon);
    });
    after(() => scope.disposeAsync());

    test("all images of the disk are usable, with their chains, in few transactions", async () => {
      const report = await injectPath(node, path);
      assert.deepEqual(
        report.images.map(({ names, result, chain }) => [names[0], result, chain]),
        [appName, toolName, baseName].map((name) => [name, "injected", "complete"]),
      );
      const snapshots = 2 + 3 + 1;
      assert.ok(report.transactions <= 4 * snapshots + 14 * 3, `${report.transactions} transactions`);
    });

    test("containers read files, honour whiteouts and opaque folders, and see owners and modes", async () => {
      const script =
        "cat /data/variant; ls /data /opaque; stat -c '%u:%g %a' /owned /setuid; touch /data/new && echo wrote";
      const output = await daemon.run({ image: appName, namespace: "k8s.io", command: ["/bin/sh", "-c", script] });
      assert.deepEqual(output.trim().split("\n"), [
        "variant 1",
        ...["/data:", "stays", "variant", "", "/opaque:", "above"],
        ...["1234:5678 640", "0:0 4755", "wrote"],
      ]);
    });

    test("pods start from it, and CRI lists it under tag, digest and id", async () => {
      assert.equal(await runPodToEnd(daemon, cri, { image: appName }), "variant 1\n");
      assert.equal(await runPodToEnd(daemon, cri, { image: toolName }), "tool 1\n");
      const status = await cri.images.status(appName);
      assert.equal(status?.id, images.app.config.digest);
      assert.deepEqual(status?.repoTags, [appName]);
      assert.deepEqual(status?.repoDigests, [`example.com/team/app@${images.app.manifest.digest}`]);
    });

    test("a second call changes nothing", async () => {
      const report = await injectPath(node, path);
      assert.deepEqual(
        report.images.map(({ result, chain }) => [result, chain]),
        Array(3).fill(["present", "complete"]),
      );
      // Its lease.
      assert.equal(report.transactions, 2);
    });

    test("containers start after a restart and after kill -9", async () => {
      await daemon.restart();
      assert.equal(await daemon.run({ image: appName, namespace: "k8s.io" }), "variant 1\n");
      await daemon.kill();
      await daemon.start();
      assert.equal(await runPodToEnd(daemon, cri, { image: appName }), "variant 1\n");
    });

    test("a garbage collection leaves all of it", async () => {
      const lease = "collect";
      await node.in.leases.create(lease);
      await node.in.leases.delete(lease, { sync: true });
      const report = await injectPath(node, path);
      assert.deepEqual(
        new Set(report.images.map(({ result, chain }) => `${result} ${chain}`)),
        new Set(["present complete"]),
      );
    });

    test("a root behind a symbolic link is the same place", async () => {
      await daemon.stop();
      await rename(daemon.root, `${daemon.root}-there`);
      await symlink(`${daemon.root}-there`, daemon.root);
      await daemon.start();
      const again = await openTestNode(scope, daemon);
      const report = await injectPath(again, path);
      assert.deepEqual(new Set(report.images.map(({ result }) => result)), new Set(["present"]));
      const fs = (await again.mounts.table()).entries.filter(({ mountPoint }) => mountPoint.startsWith(daemon.root));
      assert.equal(fs.length, 1);
      assert.equal(await daemon.run({ image: appName, namespace: "k8s.io" }), "variant 1\n");
    });

    test("a file that was changed in place is not taken for the disk that is mounted from it", async () => {
      const other = await makeInjectionDisk(scope, images, { sequence: 7 });
      const bytes = await readFile(other.path);
      await writeFile(path, bytes);
      await assert.rejects(injectPath(await openTestNode(scope, daemon), path), /changed in place|another disk/);
    });
  });
}
