import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { contentOf, imageOf, makeImages, signal } from "../../../../test/support/image-keeper-suite/setting.ts";
import { pushToRegistry } from "../../../../test/support/image-maker.ts";
import { needsProgram } from "../../../../test/support/privileges.ts";
import { waitUntil } from "../../../../test/support/processes.ts";
import { startRegistry } from "../../../../test/support/registry.ts";
import { inject } from "../../../../test/support/runtime-suite/setting.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import { openNodeRuntime } from "../../open-runtime.ts";
import { criNamespace } from "../containerd-node.ts";

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  const skip = runtime.reason ?? needsProgram("docker-registry");
  describe(`images of another snapshotter in ${runtime.name}`, { skip }, () => {
    test("are pulled by containerd itself, and kept and let go of like those that we fetch", async () => {
      await using scope = new AsyncDisposableStack();
      const daemon = await runtime.start(scope, { snapshotter: "native" });
      const { disk, other } = await makeImages(scope);
      const registry = await startRegistry();
      scope.defer(() => registry.stop());
      const options = { origin: registry.origin, repository: "keeper/image", tag: "1" };
      await pushToRegistry(other.layout, other.made.manifest, options);
      const found = { kind: "containerd", address: daemon.address, namespace: criNamespace } as const;
      const { images: keeper, runtime: disks, close } = await openNodeRuntime(found);
      scope.defer(close);
      assert.equal(keeper.fetchedBy, "runtime");
      assert.ok(keeper.folders.snapshots.endsWith(".native/snapshots"), keeper.folders.snapshots);
      await assert.rejects(inject(disks, disk), { code: "failed-precondition" });

      const repository = `${registry.host}/keeper/image`;
      const name = `${repository}@${other.digest}`;
      const report = await keeper.fetch(other.resolved, repository, { signal });
      assert.deepEqual([report.result, report.fetchedLayers, report.presentLayers], ["fetched", 2, 0]);
      const fetched = { name, digest: other.digest, origin: { from: "fetch" }, isPinned: true };
      assert.deepEqual(await imageOf(keeper, name), fetched);
      assert.equal((await contentOf(keeper, other.digest))?.isWarm, true);
      assert.equal((await keeper.fetch(other.resolved, repository, { signal })).result, "present");
      const tag = `${repository}:latest`;
      await keeper.setName(tag, other.digest, { signal });
      for (const each of [tag, name]) await keeper.release(each, "remove", { signal });
      await waitUntil("its content is gone", async () => (await contentOf(keeper, other.digest)) === undefined);
    });
  });
}
