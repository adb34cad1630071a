import assert from "node:assert/strict";
import { mkdir, rename, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  contentOf,
  type Images,
  imageOf,
  makeImages,
  signal,
} from "../../../../test/support/image-keeper-suite/setting.ts";
import { inject } from "../../../../test/support/runtime-suite/setting.ts";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import { appName } from "../../../../test/support/runtimes/injection.ts";
import {
  type InjectionNode,
  importImage,
  startInjectionNode,
} from "../../../../test/support/runtimes/injection-node.ts";
import { chainIDs } from "../../../disk/build/chain.ts";
import { digestHex } from "../../../oci/descriptor.ts";
import { type NodeRuntime, openNodeRuntime } from "../../open-runtime.ts";
import { criNamespace } from "../containerd-node.ts";
import { fsPath, readOwnedState } from "../owned-state.ts";

/** The oldest and the newest. */
for (const runtime of (await containerdRuntimes()).filter((_, i, all) => i === 0 || i === all.length - 1)) {
  describe(`what is wrong with images in ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let on: InjectionNode;
    let images: Images;
    let opened: NodeRuntime;
    before(async () => {
      on = await startInjectionNode(scope, runtime);
      images = await makeImages(scope);
      opened = await openNodeRuntime({ kind: "containerd", address: on.daemon.address, namespace: criNamespace });
      scope.defer(() => opened.close());
    });
    after(() => scope.disposeAsync());

    test("a link that a folder has replaced, as after a power cut", async () => {
      const { app, disk } = images;
      await inject(opened.runtime, disk);
      const top = chainIDs(app.resolved.layers.map(({ diffID }) => diffID)).at(-1) ?? "";
      const number = (await readOwnedState(on.node)).owned.get(top)?.number ?? "";
      const fs = fsPath(on.node, number);
      await rename(fs, `${fs}.away`);
      await mkdir(fs);
      const content = await contentOf(opened.images, app.digest);
      assert.equal(content?.isWarm, false);
      assert.equal(content.createdSeconds, undefined, "its config does not say");
      assert.match(content.missing, /does not lead to disk .* \(folder\)/);
      await assert.rejects(opened.images.setName("example.com/a:1", app.digest, { signal }), { message: /\(folder\)/ });
      await rm(fs, { recursive: true });
      await rename(`${fs}.away`, fs);
      assert.equal((await contentOf(opened.images, app.digest))?.isWarm, true);
    });

    test("a copy of one of our records is not ours, and is not removed", async () => {
      const copy = "example.com/copied:1";
      await on.daemon.ctr("--namespace", criNamespace, "images", "tag", appName, copy);
      assert.deepEqual((await imageOf(opened.images, copy))?.origin, { from: "elsewhere" });
      await opened.images.release(copy, "remove", { signal });
      const record = await on.node.in.images.get(copy);
      assert.deepEqual(
        Object.keys(record.labels).filter((key) => /nodewarm|pinned/.test(key)),
        [],
      );
    });

    test("a config whose file was cut off, and one that is gone", async () => {
      const { other } = images;
      const name = "example.com/damaged:1";
      await importImage(scope, on, other.layout, name, other.made);
      const whole = await contentOf(opened.images, other.digest);
      assert.equal(whole?.isWarm, true);
      assert.equal(whole.createdSeconds, Date.parse("2024-05-01T10:20:30Z") / 1000);
      const file = join(on.node.blobsFolder, "sha256", digestHex(other.resolved.config.digest));
      await truncate(file, 0);
      assert.match((await contentOf(opened.images, other.digest))?.missing ?? "", /has 0 bytes instead of/);
      await rm(file);
      assert.match((await contentOf(opened.images, other.digest))?.missing ?? "", /the file of .* is gone/);
    });

    test("a snapshot that somebody removed", async () => {
      const { another } = images;
      await importImage(scope, on, another.layout, "example.com/without:1", another.made);
      const top = chainIDs(another.resolved.layers.map(({ diffID }) => diffID)).at(-1) ?? "";
      await on.node.snapshotWriter.remove(top);
      assert.equal((await contentOf(opened.images, another.digest))?.missing, `snapshot ${top} is gone`);
    });
  });
}
