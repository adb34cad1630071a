import assert from "node:assert/strict";
import { realpath } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { digestHex } from "../../src/oci/descriptor.ts";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { fsPath, readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { label } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { addLayer, makeImage } from "../support/image-maker.ts";
import { assertComplete } from "../support/runtimes/check-injected.ts";
import type { ContainerdDaemon } from "../support/runtimes/containerd-daemon.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  baseName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  platform,
  toolName,
} from "../support/runtimes/injection.ts";
import { file, tar } from "../support/tar-maker.ts";

/** A disk and the next one of its line on one node: the second has a new `app`, which stands on the old one, and all else as before. */

const goneName = "example.com/team/gone:v1";
const line = `line-${process.pid}`;

for (const runtime of await containerdRuntimes()) {
  if (runtime.version.startsWith("1.7.") || runtime.version.startsWith("2.1.")) continue;
  describe(`two disks of a line in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let daemon: ContainerdDaemon;
    let node: ContainerdNode;
    let older: { readonly path: string; readonly id: string };
    let newer: { readonly path: string; readonly id: string };
    let running: string;
    let newTarget: string;

    before(async () => {
      const images = await makeInjectionImages(scope);
      const { layout, app, tool, base } = images;
      const change = await addLayer(layout, { tar: tar(file("data/variant", "variant 2\n")) });
      const runs = { Cmd: ["/bin/cat", "/data/variant"], Env: ["PATH=/bin"] };
      const next = await makeImage(layout, { layers: [...app.layers, change], platform, run: runs });
      newTarget = next.manifest.digest;
      const own = await addLayer(layout, { tar: tar(file("own", "own\n")) });
      const [ground] = base.layers;
      assert.ok(ground);
      const gone = await makeImage(layout, { layers: [ground, own], platform, run: { Cmd: ["/bin/cat", "/own"] } });
      const same = [
        [toolName, tool],
        [baseName, base],
      ] as const;
      older = await makeInjectionDisk(scope, images, {
        ...{ line, sequence: 1, blobs: true },
        images: [[appName, app], [goneName, gone], ...same],
      });
      newer = await makeInjectionDisk(scope, images, {
        ...{ line, sequence: 2, blobs: true },
        images: [[appName, next], ...same],
      });
      daemon = await runtime.start(scope);
      node = await openTestNode(scope, daemon);
      await injectPath(node, older.path);
      running = await daemon.runDetached({ image: appName, namespace: "k8s.io", command: ["/bin/sleep", "600"] });
      await assertComplete(node, await injectPath(node, newer.path));
    });
    after(() => scope.disposeAsync());

    const run = (image: string): Promise<string> => daemon.run({ image, namespace: "k8s.io" });

    /** What leads where: of snapshots and layer blobs those whose files are on each disk. */
    async function onDisks(): Promise<{ older: string[]; newer: string[] }> {
      const { owned } = await readOwnedState(node);
      const paths = new Map<string, string>();
      for (const { name, role, number } of owned.values())
        if (role === "image" || role === "layer") paths.set(name, await realpath(fsPath(node, number)));
      for await (const { digest } of node.in.content.list())
        paths.set(digest, await realpath(`${node.blobsFolder}/sha256/${digestHex(digest)}`));
      const carriers = new Map([older, newer].map(({ id }) => [id, owned.get(`nodewarm/disk/${id}`)?.number ?? ""]));
      const on = ({ id }: { id: string }): string[] => {
        const roots = [diskMountPoint(id), fsPath(node, carriers.get(id) ?? "")];
        return [...paths].filter(([, path]) => roots.some((root) => path.startsWith(`${root}/`))).map(([name]) => name);
      };
      return { older: on(older), newer: on(newer) };
    }

    test("tags move, and every image is right", async () => {
      assert.equal(await run(appName), "variant 2\n");
      assert.equal(await run(toolName), "tool 1\n");
      assert.equal(await run(baseName), "base\n");
      assert.equal(await run(goneName), "own\n");
    });

    test("a running container keeps the old tree", async () => {
      const exec = ["task", "exec", "--exec-id", "look", "--fifo-dir", `${daemon.directory}/fifo`, running];
      const said = await daemon.ctr("--namespace", "k8s.io", ...exec, "/bin/cat", "/data/variant");
      assert.equal(said, "variant 1\n");
    });

    test("what both disks hold leads to the newer, and says so", async () => {
      const { owned, blobs, images } = await readOwnedState(node);
      const on = await onDisks();
      // The old app's merged tree and its id records, and what only the image has that is gone.
      const labelled = [...owned.values()].filter(({ disk }) => disk === older.id).map(({ name }) => name);
      const links = (name: string): boolean => owned.has(name);
      assert.deepEqual(on.older.filter(links).sort(), labelled.filter((name) => !name.startsWith("nodewarm/")).sort());
      assert.equal(labelled.filter((name) => owned.get(name)?.role === "image").length, 2);
      assert.equal(labelled.filter((name) => owned.get(name)?.role === "layer").length, 0);
      const blobsOfOlder = blobs.filter(({ labels }) => labels[label.disk] === older.id).map(({ digest }) => digest);
      assert.deepEqual(
        on.older.filter((name) => !links(name)),
        blobsOfOlder.filter((digest) => on.older.includes(digest)),
      );
      assert.equal(on.older.filter((name) => !links(name)).length, 1, "one layer blob is of the old disk alone");
      for (const name of [appName, toolName, baseName]) assert.equal(images.get(name)?.labels[label.disk], newer.id);
      assert.equal(images.get(goneName)?.labels[label.disk], older.id);
    });

    test("injecting the older disk again takes nothing back", async () => {
      const before = await onDisks();
      const report = await injectPath(node, older.path);
      assert.deepEqual(
        report.images.find(({ names }) => names.includes(appName))?.conditions.map(({ type }) => type),
        ["TagKept"],
      );
      assert.deepEqual(await onDisks(), before);
      assert.equal((await node.in.images.get(appName)).target.digest, newTarget);
      assert.equal(await run(appName), "variant 2\n");
    });

    test("a call that was cut off between the links and their labels is completed", async () => {
      const again = await makeInjectionDisk(scope, await makeInjectionImages(scope), { line, sequence: 3 });
      for (const stop of ["put link", "sync links", "relabel"]) {
        let seen = 0;
        const failing = injectPath(node, again.path, {}, (step) => {
          if (step === stop && ++seen === 2) throw new Error("cut off");
          if (step === "sync links" && stop === step) throw new Error("cut off");
        });
        await assert.rejects(failing, /cut off/);
        assert.equal(await run(toolName), "tool 1\n", stop);
        assert.equal(await run(baseName), "base\n", stop);
      }
      await assertComplete(node, await injectPath(node, again.path));
      assert.equal(await run(appName), "variant 1\n");
      const { owned } = await readOwnedState(node);
      const disks = [...owned.values()].filter(({ role }) => role === "layer").map(({ disk }) => disk);
      assert.ok(disks.includes(again.id));
    });

    test("a newer disk that cannot be shown to containerd takes nothing over", async () => {
      const next = await makeInjectionDisk(scope, await makeInjectionImages(scope), { line, sequence: 4 });
      const failing = injectPath(node, next.path, {}, (step) => {
        if (step === "mount carrier") throw new Error("not shown");
      });
      await assert.rejects(failing, /not shown/);
      for (const [name, said] of [
        [appName, "variant 1\n"],
        [toolName, "tool 1\n"],
        [baseName, "base\n"],
      ] as const)
        assert.equal(await run(name), said);
    });
  });
}
