import assert from "node:assert/strict";
import { lstat, readdir, stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { FaultRegistry } from "../../../../test/support/fault-registry.ts";
import { addLayer, makeImage, makeIndex } from "../../../../test/support/image-maker.ts";
import { blobsAsked, fetchFrom, startImageRegistry } from "../../../../test/support/runtimes/fetching.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import {
  baseName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  platform,
} from "../../../../test/support/runtimes/injection.ts";
import { addNote, collectGarbage } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode, type NodeListing } from "../../../../test/support/runtimes/node-listing.ts";
import { directory, file, hardLink, opaque, tar, whiteout } from "../../../../test/support/tar-maker.ts";
import { readXattrs } from "../../../../test/support/xattrs.ts";
import { openCri } from "../client/cri/cri-client.ts";
import { openSpool } from "./spool.ts";

/** What a fetch leaves on a node, compared with what the pull of that containerd leaves. */

for (const runtime of await containerdRuntimes()) {
  describe(`fetching into ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let registry: FaultRegistry;

    before(async () => {
      images = await makeInjectionImages(scope);
      const { layout, app, tool, base } = images;
      const other = { ...tool.manifest, platform: { os: "linux", architecture: "s390x" } };
      const index = await makeIndex(layout, [other, app.manifest]);
      const busybox = app.layers[0];
      assert.ok(busybox);
      const many = await Promise.all(Array.from({ length: 12 }, (_, i) => addNote(layout, `note-${i}`)));
      const { manifest } = await makeImage(layout, {
        layers: [busybox, ...many, busybox],
        platform,
        run: { Cmd: ["/bin/cat", "/note-11"] },
      });
      // Layers that name a file and not the folders above it: those take their attributes from the layers below.
      const owned = await addLayer(layout, {
        tar: tar(directory("app", { uid: 1000, gid: 1000, mode: 0o700 }), directory("app/deep", { mode: 0o711 })),
      });
      const within = await addLayer(layout, { tar: tar(file("app/deep/new", "new\n"), directory("app/deep/own")) });
      const late = await addLayer(layout, { tar: tar(file("app/late", "late\n"), directory("app", { mode: 0o750 })) });
      const implied = await makeImage(layout, {
        layers: [busybox, owned, within, late, ...many.slice(0, 3)],
        platform,
      });
      // What of the folders above counts beyond owner and mode, and entries that mean something to the layers below.
      const marked = await addLayer(layout, {
        tar: tar(
          directory("app", { uid: 7, gid: 8, mode: 0o2770, xattrs: { "user.mark": "below" } }),
          file("app/gone", "gone\n"),
        ),
      });
      const removing = await addLayer(layout, { tar: tar(whiteout("app/gone"), opaque("app")) });
      const whole = await addLayer(layout, {
        tar: tar(
          directory("other", { uid: 9, mode: 0o700, xattrs: { "user.mark": "own" } }),
          whiteout("other/one"),
          file("other/two", "two\n"),
          hardLink("other/three", "other/two"),
        ),
      });
      const upper = await makeImage(layout, { layers: [busybox, marked, whole, removing], platform });
      const empty = await makeImage(layout, { layers: [], platform });
      registry = await startImageRegistry(scope, layout, {
        app: index,
        tool: tool.manifest,
        base: base.manifest,
        many: manifest,
        implied: implied.manifest,
        upper: upper.manifest,
        empty: empty.manifest,
      });
    });
    after(() => scope.disposeAsync());

    test("leaves what a pull leaves: blobs, labels, snapshots and trees", async () => {
      await using inner = new AsyncDisposableStack();
      const [pulled, fetched] = [await runtime.start(inner), await runtime.start(inner)];
      const [pulledNode, node] = [await openTestNode(inner, pulled), await openTestNode(inner, fetched)];
      using cri = openCri(pulled.address);
      await cri.images.pull(`${registry.host}/team/app:v1`);
      await cri.images.pull(`${registry.host}/team/many:v1`);
      await cri.images.pull(`${registry.host}/team/implied:v1`);
      await cri.images.pull(`${registry.host}/team/upper:v1`);
      const report = await fetchFrom(node, registry, "app");
      assert.deepEqual(
        { ...report, fetchedBytes: 0 },
        { result: "fetched", fetchedBytes: 0, diskBytes: 0, fetchedLayers: 3, presentLayers: 0, conditions: [] },
      );
      await fetchFrom(node, registry, "many");
      const steps: string[] = [];
      await fetchFrom(node, registry, "implied", {}, (step) => void steps.push(step));
      assert.ok(steps.includes("prepare ahead") && steps.includes("move"), "layers were unpacked ahead");
      await fetchFrom(node, registry, "upper");
      const [expected, actual] = [await listNode(pulledNode), await listNode(node)];
      assert.deepEqual(actual.content, expected.content);
      assert.deepEqual(actual.snapshots, expected.snapshots);
      assert.deepEqual(actual.blobPaths, expected.blobPaths);
      assert.deepEqual(actual.leases, []);
      const names = (list: NodeListing) => list.images.map((line) => line.replace(/ \{.*/, "")).sort();
      assert.deepEqual(
        names(actual),
        names(expected).filter((line) => !line.includes(":v1 ")),
      );
      assert.deepEqual(await readdir(await openSpool(node)), []);
      assert.equal(
        await treesOf(node.local(node.snapshotsFolder)),
        await treesOf(pulledNode.local(pulledNode.snapshotsFolder)),
      );
    });

    test("leaves nothing to do for later pulls, and starts", async () => {
      await using inner = new AsyncDisposableStack();
      const daemon = await runtime.start(inner);
      const node = await openTestNode(inner, daemon);
      await fetchFrom(node, registry, "app");
      await fetchFrom(node, registry, "many");
      await collectGarbage(node);
      const again = await fetchFrom(node, registry, "app");
      assert.equal(again.result, "present");
      assert.equal(again.presentLayers, 3);
      blobsAsked(registry);
      using cri = openCri(daemon.address);
      for (const name of ["app", "many"]) {
        await cri.images.pull(`${registry.host}/team/${name}:v1`);
        await daemon.ctr("-n", "k8s.io", "image", "pull", "--plain-http", `${registry.host}/team/${name}:v1`);
      }
      const otherConfig = images.tool.config.digest;
      assert.deepEqual(
        blobsAsked(registry).filter((digest) => digest !== otherConfig),
        [],
        "no blob is asked for but the config of another platform, which ctr 2 wants",
      );
      const out = await daemon.run({ image: `${registry.host}/team/many:v1`, namespace: "k8s.io" });
      assert.equal(out, "note-11\n");
      const app = await daemon.run({ image: `${registry.host}/team/app:v1`, namespace: "k8s.io" });
      assert.equal(app, "variant 1\n");
    });

    test("fetches only the layers that are not there", async () => {
      await using inner = new AsyncDisposableStack();
      const node = await openTestNode(inner, await runtime.start(inner));
      await fetchFrom(node, registry, "base");
      blobsAsked(registry);
      const report = await fetchFrom(node, registry, "tool");
      assert.deepEqual([report.fetchedLayers, report.presentLayers], [1, 1]);
      const own = images.tool.layers[1]?.descriptor;
      assert.equal(report.fetchedBytes, own?.size);
      assert.deepEqual(blobsAsked(registry), [images.tool.config.digest, own?.digest].sort());
    });

    test("says how much of an image a disk has, be it a snapshot or only the blob of a layer", async () => {
      await using inner = new AsyncDisposableStack();
      const daemon = await runtime.start(inner);
      const node = await openTestNode(inner, daemon);
      // Has the files of blobs too, and none of the snapshots.
      const other = await openTestNode(inner, daemon, "other");
      const disk = await makeInjectionDisk(inner, images, { blobs: true, images: [[baseName, images.base]] });
      await injectPath(node, disk.path);
      const size = images.base.layers[0]?.descriptor.size;
      for (const [each, fetched] of [
        [node, 1],
        [other, 0],
      ] as const) {
        const report = await fetchFrom(each, registry, "tool");
        assert.deepEqual([report.fetchedLayers, report.presentLayers, report.diskBytes], [fetched, 2 - fetched, size]);
      }
      const again = await fetchFrom(node, registry, "tool");
      assert.deepEqual([again.result, again.diskBytes], ["present", size]);
    });

    test("makes an image without layers", async () => {
      await using inner = new AsyncDisposableStack();
      const node = await openTestNode(inner, await runtime.start(inner));
      assert.equal((await fetchFrom(node, registry, "empty")).result, "fetched");
      assert.equal((await fetchFrom(node, registry, "empty")).result, "present");
    });

    test("keeps namespaces that share no blobs apart", async () => {
      await using inner = new AsyncDisposableStack();
      const node = await openTestNode(inner, await runtime.start(inner, { contentSharingPolicy: "isolated" }));
      await fetchFrom(node, registry, "app");
      assert.equal((await fetchFrom(node, registry, "app")).result, "present");
      for (const { descriptor } of images.app.layers)
        assert.equal((await node.in.content.info(descriptor.digest)).sizeBytes, descriptor.size);
      assert.deepEqual(await readdir(await openSpool(node)), []);
    });
  });
}

/** What all snapshots have, without their numbers and the times of what containerd makes itself; layers have files of 1970. */
async function treesOf(folder: string): Promise<string> {
  const trees: string[] = [];
  for (const number of await readdir(folder)) trees.push((await walk(`${folder}/${number}/fs`)).join("\n"));
  return trees.sort().join("\n\n");
}

async function walk(root: string): Promise<string[]> {
  const lines: string[] = [];
  for (const name of (await readdir(root, { recursive: true })).sort()) {
    const { mode, uid, gid, size, rdev, mtimeMs, nlink } = await lstat(`${root}/${name}`);
    const isFolder = (mode & 0o170000) === 0o040000;
    const isMade = (mode & 0o170000) === 0o020000 || mtimeMs > 0;
    const xattrs = [...readXattrs(Buffer.from(`${root}/${name}`))].map(
      ([key, value]) => `${key}=${value.toString("hex")}`,
    );
    lines.push(
      [name, mode.toString(8), uid, gid, isFolder ? "" : size, rdev, isMade ? "now" : mtimeMs, nlink, ...xattrs].join(
        " ",
      ),
    );
  }
  const { mode, uid, gid } = await stat(root);
  return [...lines, `root ${mode.toString(8)} ${uid} ${gid}`];
}
