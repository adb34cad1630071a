import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { isRuntimeError } from "../../src/runtime/runtime-error.ts";
import { makeImage } from "../support/image-maker.ts";
import { run } from "../support/processes.ts";
import { containerdRuntimes } from "../support/runtimes/fleet.ts";
import {
  appName,
  type InjectionImages,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
} from "../support/runtimes/injection.ts";
import { collectGarbage, startInjectionNode } from "../support/runtimes/injection-node.ts";
import { temporaryDirectory } from "../support/temporary.ts";

/** Kinds of disks, and what they make of an injection. */

for (const runtime of await containerdRuntimes()) {
  describe(`disks for ${runtime.name}`, { skip: runtime.reason ?? false }, () => {
    const scope = new AsyncDisposableStack();
    let images: InjectionImages;

    before(async () => {
      images = await makeInjectionImages(scope);
    });
    after(() => scope.disposeAsync());

    test("a disk of another platform is refused, by name", async () => {
      await using own = new AsyncDisposableStack();
      const architecture = process.arch === "arm64" ? "amd64" : "arm64";
      const platform = { os: "linux", architecture };
      const foreign = await makeImage(images.layout, { layers: images.base.layers, platform });
      const { path } = await makeInjectionDisk(own, images, {
        architecture,
        images: [["example.com/foreign:v1", foreign]],
      });
      const daemon = await runtime.start(own);
      const node = await openTestNode(own, daemon);
      await assert.rejects(injectPath(node, path), (error: unknown) => {
        assert.ok(isRuntimeError(error, "failed-precondition"));
        assert.match(error.message, new RegExp(`disk\\.erofs.*linux/${architecture}`));
        return true;
      });
      assert.deepEqual(await Array.fromAsync(node.snapshots.list()), []);
    });

    test("a disk with blobs: images are exported whole, after a restart and a collection too", async () => {
      await using own = new AsyncDisposableStack();
      const on = await startInjectionNode(own, runtime);
      const { path } = await makeInjectionDisk(own, images, { blobs: true });
      await injectPath(on.node, path);
      const layers = new Set(
        [images.app, images.tool].flatMap((image) => image.layers.map(({ descriptor }) => descriptor.digest)),
      );
      for (const round of ["at once", "after a restart"]) {
        for (const digest of layers)
          await assert.doesNotReject(readlink(`${on.node.blobsFolder}/sha256/${digest.slice(7)}`), round);
        const folder = await temporaryDirectory(own, "export");
        const archive = join(folder, "app.tar");
        const exportBlobs = async () => {
          await on.daemon.ctr("-n", "k8s.io", "images", "export", archive, appName);
          return extractedBlobs(folder, archive);
        };
        // ctr 2.1.9 has ended well with half an archive once: what it wrote the second time counts.
        const exported = await exportBlobs().catch(exportBlobs);
        for (const { descriptor } of images.app.layers) assert.ok(exported.includes(descriptor.digest), round);
        assert.match(await on.daemon.ctr("-n", "k8s.io", "images", "check"), /app:v1 .* complete \(4\/4\)/);
        await on.daemon.restart();
        await collectGarbage(on.node);
      }
      assert.equal((await injectPath(on.node, path)).transactions, 2);
    });
  });
}

/** Digests of the blobs in an OCI archive; throws when one is not what its name says. */
async function extractedBlobs(folder: string, archive: string): Promise<string[]> {
  const into = join(folder, "extracted");
  await mkdir(into, { recursive: true });
  await run("tar", ["-C", into, "-xf", archive]);
  const names = await readdir(join(into, "blobs/sha256"));
  for (const name of names) {
    const bytes = await readFile(join(into, "blobs/sha256", name));
    assert.equal(createHash("sha256").update(bytes).digest("hex"), name);
  }
  return names.map((name) => `sha256:${name}`);
}
