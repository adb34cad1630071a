import assert from "node:assert/strict";

import { after, before, describe, test } from "node:test";
import { openContainerd } from "../../src/runtime/containerd/client/containerd-client.ts";
import type { InjectReport } from "../../src/runtime/runtime.ts";
import { isRuntimeError } from "../../src/runtime/runtime-error.ts";
import { startFaultRegistry } from "../support/fault-registry.ts";
import { makeImage } from "../support/image-maker.ts";
import { runPodToEnd } from "../support/runtimes/cri-pod.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  platform,
} from "../support/runtimes/injection.ts";
import { addNote, collectGarbage, startInjectionNode } from "../support/runtimes/injection-node.ts";

/** Settings of containerd that change what injection can do. */

for (const runtime of await containerdRuntimes()) {
  describe(`inject into ${runtime.name} with other settings`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;
    let plain: string;
    let withBlobs: string;

    before(async () => {
      images = await makeInjectionImages(scope);
      plain = (await makeInjectionDisk(scope, images)).path;
      withBlobs = (await makeInjectionDisk(scope, images, { blobs: true })).path;
    });
    after(() => scope.disposeAsync());

    test("discard_unpacked_layers: images run, and pulls on their layers transfer what is new", async () => {
      await using own = new AsyncDisposableStack();
      const { layout, app } = images;
      const layers = [...app.layers.slice(0, 2), await addNote(layout, "discarding")];
      const other = await makeImage(layout, {
        layers,
        platform,
        run: { Cmd: ["/bin/cat", "/discarding"] },
      });
      const tags = { "team/app:v1": app.manifest, "team/other:v1": other.manifest };
      const registry = await startFaultRegistry({ layoutDirectory: layout, tags });
      own.defer(() => registry.stop());
      const on = await startInjectionNode(own, runtime, { discardUnpackedLayers: true });
      const [appAt, otherAt] = [`${registry.host}/team/app:v1`, `${registry.host}/team/other:v1`];
      const disk = await makeInjectionDisk(own, images, { images: [[appAt, app]] });
      await injectPath(on.node, disk.path);
      const asked = () => registry.requests.splice(0).flatMap(({ path }) => /\/blobs\/(\S+)/.exec(path)?.[1] ?? []);

      await on.cri.images.pull(appAt);
      assert.deepEqual(asked(), []);
      await on.cri.images.pull(otherAt);
      assert.deepEqual(
        asked().sort(),
        [other.config.digest, ...other.layers.slice(2).map(({ descriptor }) => descriptor.digest)].sort(),
      );
      await collectGarbage(on.node);
      await on.daemon.restart();
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appAt }), "variant 1\n");
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: otherAt }), "discarding\n");
    });

    test("content_sharing_policy isolated: layer blobs stay away, a condition says so, and images run", async () => {
      await using own = new AsyncDisposableStack();
      const on = await startInjectionNode(own, runtime, { contentSharingPolicy: "isolated" });
      assert.equal(on.node.sharingPolicy, "isolated");
      const report = await injectPath(on.node, withBlobs);
      assert.deepEqual(results(report), Array(3).fill(["injected", "complete"]));
      assert.deepEqual(
        report.conditions.map(({ type }) => type).filter((type) => type.startsWith("Blobs")),
        ["BlobsIsolated"],
      );
      await collectGarbage(on.node);
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
      assert.deepEqual(results(await injectPath(on.node, withBlobs)), Array(3).fill(["present", "complete"]));
    });

    test("another default snapshotter is refused before anything is changed, with the way out", async () => {
      await using own = new AsyncDisposableStack();
      const daemon = await runtime.start(own, { snapshotter: "native" });
      const inject = async () => injectPath(await openTestNode(own, daemon), plain);
      await assert.rejects(inject(), (error: unknown) => {
        assert.ok(isRuntimeError(error, "failed-precondition"));
        assert.match(error.message, /"native".*snapshotter = "overlayfs"/);
        return true;
      });
      using client = openContainerd(daemon.address);
      const { images: records, leases, snapshots } = client.withNamespace("k8s.io");
      const overlayfs = await Array.fromAsync(snapshots("overlayfs").list());
      assert.deepEqual([overlayfs, await records.list(), await leases.list()], [[], [], []]);
    });

    test("a handler on another snapshotter: images without blobs are skipped, and the handler named", {
      skip: runtime.version.startsWith("1.6.") && "containerd 1.6 has one snapshotter for all handlers",
    }, async () => {
      await using own = new AsyncDisposableStack();
      const on = await startInjectionNode(own, runtime, { more: otherHandler(runtime.version) });
      assert.deepEqual(on.node.otherHandlers, [{ name: "sandboxed", snapshotter: "native" }]);
      const report = await injectPath(on.node, plain);
      assert.deepEqual(results(report), Array(3).fill(["skipped", "pending"]));
      for (const { conditions } of report.images) {
        assert.deepEqual(
          conditions.map(({ type }) => type),
          ["HandlerNeedsBlobs"],
        );
        assert.match(conditions[0]?.message ?? "", /"sandboxed".*native.*--blobs.*--handlers default-only/);
      }
      assert.equal(await on.cri.images.status(appName), undefined);

      const forDefault = await injectPath(on.node, plain, { handlers: "default-only" });
      assert.deepEqual(results(forDefault), Array(3).fill(["injected", "complete"]));
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
    });

    test("a handler on another snapshotter: blobs of the disk serve it", {
      skip: runtime.version.startsWith("1.6.") && "containerd 1.6 has one snapshotter for all handlers",
    }, async () => {
      await using own = new AsyncDisposableStack();
      const on = await startInjectionNode(own, runtime, { more: otherHandler(runtime.version) });
      assert.deepEqual(results(await injectPath(on.node, withBlobs)), Array(3).fill(["injected", "complete"]));
      // CRI unpacks what the snapshotter of the handler lacks.
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName, handler: "sandboxed" }), "variant 1\n");
      assert.equal(await runPodToEnd(on.daemon, on.cri, { image: appName }), "variant 1\n");
    });
  });
}

function results({ images }: InjectReport): [string, string][] {
  return images.map(({ result, chain }) => [result, chain]);
}

/** A second handler of CRI, as nodes with a sandboxed runtime have it. */
function otherHandler(version: string): string {
  const plugin = version.startsWith("1.") ? "io.containerd.grpc.v1.cri" : "io.containerd.cri.v1.runtime";
  return `[plugins."${plugin}".containerd.runtimes.sandboxed]
runtime_type = "io.containerd.runc.v2"
snapshotter = "native"`;
}
