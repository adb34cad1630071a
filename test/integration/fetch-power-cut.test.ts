import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { digestHex } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/image-documents.ts";
import type { ContainerdNode } from "../../src/runtime/containerd/containerd-node.ts";
import { openSpool } from "../../src/runtime/containerd/fetch/spool.ts";
import type { FaultRegistry } from "../support/fault-registry.ts";
import { PowerCutNode, powerCuts } from "../support/power-cut/power-cut-node.ts";
import { recorderReason } from "../support/power-cut/recorded-device.ts";
import { seededRandom } from "../support/random.ts";
import { outermostRuntimes } from "../support/runtimes/ejection.ts";
import { fetchFrom, startImageRegistry } from "../support/runtimes/fetching.ts";
import { makeInjectionImages } from "../support/runtimes/injection.ts";
import { collectGarbage } from "../support/runtimes/injection-node.ts";

/**
 * The power goes while an image is fetched, before and after containerd has claimed its blobs: what containerd has then is whole, and the next
 * fetch completes it. Replayed at the level of blocks, as in inject-power-cut.test.ts.
 */

const cuts = 20;
const noRecorder = await recorderReason();
const seed = Number(process.env.NODEWARM_TEST_SEED ?? Date.now() % 2 ** 31);

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? noRecorder;
  describe(`power cuts while fetching, ${runtime.name}, NODEWARM_TEST_SEED=${seed}`, { skip }, () => {
    const scope = new AsyncDisposableStack();
    let node: PowerCutNode;
    let registry: FaultRegistry;
    /** A device that has been in use. */
    let used: string;
    let image: string;
    let documents: readonly string[];

    before(async () => {
      const images = await makeInjectionImages(scope);
      registry = await startImageRegistry(scope, images.layout, {
        app: images.app.manifest,
        tool: images.tool.manifest,
      });
      image = `${registry.host}/team/app@${images.app.manifest.digest}`;
      documents = [images.app.manifest.digest, images.app.config.digest];
      node = await PowerCutNode.start(scope, runtime);
      used = await node.prepare(async (containerd) => {
        await fetchFrom(containerd, registry, "tool");
        for (const { name } of await containerd.in.images.list())
          await containerd.in.images.delete(name, { sync: true });
        await collectGarbage(containerd);
      });
    });
    after(() => scope.disposeAsync());

    test("blobs that containerd has are whole, what is named starts, and the next fetch completes", async (t) => {
      const claimed: number[] = [];
      const recording = await node.record(used, async (containerd) => {
        await fetchFrom(containerd, registry, "app");
      });
      for (const cut of powerCuts(recording, cuts, seededRandom(seed))) {
        const where = `after request ${cut.after} of ${recording.begin} to ${recording.requests.length}`;
        await node
          .afterPowerCut(recording, cut, async (containerd) => {
            const names = (await containerd.in.images.list()).map(({ name }) => name);
            // containerd does not make the names of those durable that it writes itself: until the image is named they may be lost.
            claimed.push(await assertBlobsWhole(containerd, names.includes(image) ? [] : documents));
            if (names.includes(image))
              assert.equal(await node.daemon.run({ namespace: "k8s.io", image }), "variant 1\n", "it is named");
            await fetchFrom(containerd, registry, "app");
            assert.equal(await node.daemon.run({ namespace: "k8s.io", image }), "variant 1\n");
            await assertBlobsWhole(containerd);
            assert.deepEqual(await readdir(await openSpool(containerd)), []);
            assert.deepEqual(await containerd.in.leases.list(), []);
          })
          .catch((cause) => assert.fail(`seed ${seed}, ${where}${cut.random ? ", cache lost" : ""}: ${cause.stack}`));
      }
      t.diagnostic(`blobs that containerd had after each cut: ${claimed.join(", ")}`);
      assert.ok(claimed.includes(0) && Math.max(...claimed) >= 3, `blobs after each cut: ${claimed.join(", ")}`);
    });
  });
}

/** Each blob that containerd knows has the bytes of its digest; those of `mayBeGone` may have no file. How many have one. */
async function assertBlobsWhole(node: ContainerdNode, mayBeGone: readonly string[] = []): Promise<number> {
  let count = 0;
  for await (const { digest } of node.in.content.list()) {
    const path = node.local(`${node.blobsFolder}/sha256/${digestHex(digest)}`);
    const bytes = await readFile(path).catch((error) => {
      if (mayBeGone.includes(digest) && error.code === "ENOENT") return undefined;
      throw error;
    });
    if (bytes === undefined) continue;
    assert.equal(digestOf(bytes), digest, "a blob that containerd knows has other bytes");
    count++;
  }
  return count;
}
