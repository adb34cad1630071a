import assert from "node:assert/strict";
import { readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { ejectDisks } from "../../src/runtime/containerd/eject/eject-disks.ts";
import { layerCacheConfiguration } from "../../src/runtime/containerd/layer-cache.ts";
import { mountAll } from "../../src/runtime/containerd/mount-all.ts";
import { readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { label } from "../../src/runtime/containerd/ownership.ts";
import { readStatus } from "../../src/runtime/containerd/status/read-status.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { run } from "../support/processes.ts";
import { assertComplete, injectedOutputs, startListed } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { connectCri, runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../support/runtimes/injection.ts";

/** Injection where containerd's own EROFS snapshotter takes its layers from a disk. */

const all = [...injectedOutputs().keys()];
const line = `erofs-${process.pid}`;
const runtime = (await containerdRuntimes()).find(({ version }) => version.startsWith("2.4."));

describe("inject into containerd 2.4 with the EROFS snapshotter", {
  skip: runtime?.reason ?? runtime === undefined,
}, () => {
  const scope = new AsyncDisposableStack();
  let daemon: ContainerdDaemon;
  let node: ContainerdNode;
  let images: InjectionImages;
  let disk: { readonly path: string; readonly id: string };

  before(async () => {
    images = await makeInjectionImages(scope);
    disk = await makeInjectionDisk(scope, images, { line, sequence: 1, erofsCache: true });
    assert.ok(runtime);
    daemon = await runtime.start(scope, { snapshotter: "erofs" });
    await daemon.importRuntimeImages();
    node = await openTestNode(scope, daemon);
  });
  after(() => scope.disposeAsync());

  test("a disk without layer images is refused, and the message says how to build one", async () => {
    const plain = await makeInjectionDisk(scope, images);
    await assert.rejects(injectPath(node, plain.path), /no layer images.*--erofs-cache/s);
  });

  test("without the lines in the configuration nothing is injected, and the message has them", async () => {
    await assert.rejects(injectPath(node, disk.path), (error: Error) =>
      error.message.includes(layerCacheConfiguration(node)),
    );
    assert.deepEqual(await startListed(daemon, node), []);
    const { owned, unfinished } = await readOwnedState(node);
    assert.deepEqual(unfinished, []);
    assert.deepEqual(
      [...owned.values()].map(({ role }) => role),
      ["carrier"],
    );
  });

  test("with them all images run, and pods too", async () => {
    const file = join(daemon.directory, "config.toml");
    const [header = ""] = layerCacheConfiguration(node).split("\n");
    const text = await readFile(file, "utf8");
    assert.ok(text.includes(header));
    await writeFile(file, text.replace(header, layerCacheConfiguration(node)));
    await daemon.restart();
    node = await openTestNode(scope, daemon);
    const report = await injectPath(node, disk.path);
    await assertComplete(node, report);
    assert.deepEqual(await startListed(daemon, node), all);
    assert.equal(await runPodToEnd(daemon, connectCri(scope, daemon), { image: appName }), "variant 1\n");
    const script = "ls /data /opaque; stat -c '%u:%g %a' /owned /setuid; touch /data/new && echo wrote";
    const output = await daemon.run({ image: appName, namespace: "k8s.io", command: ["/bin/sh", "-c", script] });
    assert.deepEqual(output.trim().split("\n"), [
      ...["/data:", "stays", "variant", "", "/opaque:", "above"],
      ...["1234:5678 640", "0:0 4755", "wrote"],
    ]);
  });

  test("a second call changes nothing, a collection and a restart leave all of it", async () => {
    await node.in.leases.create("collect");
    await node.in.leases.delete("collect", { sync: true });
    const report = await injectPath(node, disk.path);
    assert.deepEqual(
      report.images.map(({ result }) => result),
      ["present", "present", "present"],
    );
    assert.equal(report.transactions, 2);
    await daemon.kill();
    await daemon.start();
    node = await openTestNode(scope, daemon);
    assert.deepEqual(await startListed(daemon, node), all);
  });

  test("while the disk is away nothing starts; after it is mounted again all does", async () => {
    const { owned } = await readOwnedState(node);
    const carrier = owned.get(`nodewarm/disk/${disk.id}`);
    for (const path of [`${node.snapshotsFolder}/${carrier?.number}/fs`, diskMountPoint(disk.id)])
      await run("umount", ["-l", path]);
    await assert.rejects(daemon.run({ image: appName, namespace: "k8s.io" }));
    const report = await mountAll({ snapshotsFolders: [node.snapshotsFolder] });
    assert.deepEqual(report.conditions, []);
    assert.deepEqual(
      report.disks.map(({ id, result }) => [id, result]),
      [[disk.id, "mounted"]],
    );
    assert.deepEqual(await startListed(daemon, node), all);
  });

  test("status finds nothing wrong", async () => {
    const [status] = await readStatus(node, new AbortController().signal);
    assert.deepEqual(status?.conditions, []);
    assert.deepEqual(
      status?.images.flatMap(({ conditions }) => conditions),
      [],
    );
    assert.equal(status?.images.length, 3);
  });

  test("the layers of the next disk of the line are taken from there", async () => {
    const next = await makeInjectionDisk(scope, images, { line, sequence: 2, erofsCache: true });
    await assertComplete(node, await injectPath(node, next.path));
    const { owned } = await readOwnedState(node);
    const number = owned.get(`nodewarm/disk/${next.id}`)?.number;
    const snapshots = [...owned.values()].filter(({ role }) => role !== "carrier");
    assert.deepEqual(new Set(snapshots.map(({ disk }) => disk)), new Set([next.id]));
    for (const { tree } of snapshots) {
      const link = join(node.snapshotsFolder, "../nodewarm", tree.slice("erofs/".length));
      assert.ok((await readlink(link)).includes(`/snapshots/${number}/fs/`), link);
    }
    assert.deepEqual(await startListed(daemon, node), all);
    await assertComplete(node, await injectPath(node, disk.path));
    assert.equal((await readOwnedState(node)).owned.get(snapshots[0]?.name ?? "")?.disk, next.id);
  });

  test("after an ejection nothing of the disks is left in containerd", async () => {
    await ejectDisks(node, { wait: false, materialize: false, signal: AbortSignal.timeout(20_000) });
    assert.deepEqual(await startListed(daemon, node), []);
    const { owned, images: records } = await readOwnedState(node);
    assert.deepEqual([...owned.keys()], []);
    assert.ok([...records.values()].every(({ labels }) => labels[label.disk] === undefined));
  });
});
