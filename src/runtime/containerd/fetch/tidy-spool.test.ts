import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { outermostRuntimes } from "../../../../test/support/runtimes/ejection.ts";
import { fetchFrom, startImageRegistry } from "../../../../test/support/runtimes/fetching.ts";
import { makeInjectionImages, openTestNode } from "../../../../test/support/runtimes/injection.ts";
import { collectGarbage } from "../../../../test/support/runtimes/injection-node.ts";
import { listNode } from "../../../../test/support/runtimes/node-listing.ts";
import { openSpool } from "./spool.ts";
import { tidySpool } from "./tidy-spool.ts";

for (const runtime of await outermostRuntimes()) {
  const skip = runtime.reason ?? false;

  test(`${runtime.name}: what a fetch left that nobody goes on with goes when space is short`, { skip }, async () => {
    await using scope = new AsyncDisposableStack();
    const node = await openTestNode(scope, await runtime.start(scope));
    const images = await makeInjectionImages(scope);
    const registry = await startImageRegistry(scope, images.layout, { app: images.app.manifest });
    const spool = await openSpool(node);
    const before = await listNode(node);
    const stopped = fetchFrom(node, registry, "app", {}, (step) => {
      if (step === "document") throw new Error("no longer wanted");
    });
    await assert.rejects(stopped, /no longer wanted/);
    assert.equal((await listNode(node)).snapshots.length, images.app.layers.length);
    await tidySpool(node, false);
    assert.equal((await listNode(node)).snapshots.length, images.app.layers.length, "somebody may go on with it");

    const during = fetchFrom(node, registry, "app", {}, async (step) => {
      if (step !== "document") return;
      await tidySpool(node, true);
      throw new Error("no longer wanted");
    });
    await assert.rejects(during, /no longer wanted/);
    assert.equal((await listNode(node)).snapshots.length, images.app.layers.length, "it was being worked on");

    await tidySpool(node, true);
    await collectGarbage(node);
    assert.deepEqual(await listNode(node), before);
    assert.deepEqual(await readdir(spool), []);
  });
}
