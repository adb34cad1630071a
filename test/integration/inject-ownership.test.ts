import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { readOwnedState } from "../../src/runtime/containerd/owned-state.ts";
import { makeImage } from "../support/image-maker.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  platform,
} from "../support/runtimes/injection.ts";
import {
  addNote,
  collectGarbage,
  committedSnapshots,
  type InjectionNode,
  importImage,
  startInjectionNode,
} from "../support/runtimes/injection-node.ts";

/** What is ours in a runtime is what we made, and only that. */

for (const runtime of await containerdRuntimes()) {
  describe(`ownership in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let on: InjectionNode;

    before(async () => {
      images = await makeInjectionImages(scope);
      on = await startInjectionNode(scope, runtime);
    });
    after(() => scope.disposeAsync());

    test("an image that the node had before is used as it is and gets no label of ours", async () => {
      const known = await makeImage(images.layout, {
        layers: [...images.base.layers, await addNote(images.layout, `known-${randomUUID()}`)],
        platform,
        run: { Cmd: ["/bin/echo", "known"] },
      });
      const name = "example.com/known/image:v1";
      const { path } = await makeInjectionDisk(scope, images, { images: [[name, known]] });
      await importImage(scope, on, images.layout, name, known);
      const before = await committedSnapshots(on.node);
      const report = await injectPath(on.node, path);
      assert.deepEqual(
        report.images.map(({ chain }) => chain),
        ["complete"],
      );
      const state = await readOwnedState(on.node);
      assert.deepEqual(
        [...state.owned.values()].filter(({ role }) => role === "image" || role === "layer"),
        [],
      );
      assert.deepEqual(state.blobs, []);
      assert.equal(state.images.get(name)?.labels["nodewarm.io/disk"], undefined);
      assert.deepEqual(
        (await committedSnapshots(on.node)).filter((each) => !each.startsWith("nodewarm/")),
        before,
      );
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: name }), "known\n");
    });

    test("what an image says of itself never becomes a label of containerd", async () => {
      const hostile = {
        "containerd.io/gc.root": "hostile",
        "containerd.io/gc.ref.snapshot.overlayfs": "hostile",
        "containerd.io/gc.expire": "2000-01-01T00:00:00Z hostile",
        "io.cri-containerd.pinned": "hostile",
        "nodewarm.io/disk": "hostile",
        "nodewarm.io/role": "hostile",
      };
      const image = await makeImage(images.layout, {
        layers: images.base.layers,
        platform,
        run: { Cmd: ["/bin/echo", "runs"], Labels: hostile },
        manifest: { annotations: hostile },
      });
      const name = "example.com/boasting/labels:v1";
      const { path } = await makeInjectionDisk(scope, images, { images: [[name, image]], blobs: true });
      await injectPath(on.node, path);
      const state = await readOwnedState(on.node);
      const content = await Array.fromAsync(on.node.in.content.list());
      const leases = await on.node.in.leases.list();
      for (const { labels } of [...state.snapshots.values(), ...state.images.values(), ...content, ...leases])
        assert.ok(!JSON.stringify(labels).includes("hostile"), JSON.stringify(labels));
      await collectGarbage(on.node);
      assert.equal(await on.daemon.run({ image: name, namespace: "k8s.io" }), "runs\n");
    });
  });
}
