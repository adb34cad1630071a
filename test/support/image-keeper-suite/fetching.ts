import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { FetchProgress } from "../../../src/runtime/image-keeper.ts";
import { waitUntil } from "../processes.ts";
import { contentOf, imageOf, signal, type World } from "./setting.ts";

/** How every keeper fetches. */
export function testFetching(world: World): void {
  test("makes an image warm, under its digest alone, and does nothing when it is", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, others, repository } = await world.makeSetting(scope);
    const { other, another } = world.images();
    const sizes = other.resolved.layers.map(({ descriptor }) => descriptor.size);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const name = `${repository}@${other.digest}`;
    let asked = 0;
    let last: FetchProgress | undefined;
    const report = await keeper.fetch(other.resolved, repository, {
      signal,
      admit: async (bytes) => {
        asked += bytes;
      },
      onProgress: (progress) => {
        last = progress;
      },
    });
    assert.deepEqual(
      [report.result, report.fetchedBytes, report.fetchedLayers, report.presentLayers],
      ["fetched", total, 2, 0],
    );
    assert.equal(asked, total);
    assert.deepEqual(last, { fetchedBytes: total, presentBytes: 0, unpackedBytes: total, totalBytes: total });
    assert.deepEqual(await imageOf(keeper, name), {
      name,
      digest: other.digest,
      origin: { from: "fetch" },
      isPinned: true,
    });
    assert.equal((await contentOf(keeper, other.digest))?.isWarm, true);
    await others.collectGarbage();
    assert.equal((await contentOf(keeper, other.digest))?.isWarm, true);

    const again = await keeper.fetch(other.resolved, repository, { signal });
    assert.deepEqual([again.result, again.fetchedBytes, again.diskBytes, again.presentLayers], ["present", 0, 0, 2]);

    // The base is there already.
    const next = await keeper.fetch(another.resolved, repository, { signal });
    if (keeper.fetchedBy === "nodewarm") assert.deepEqual([next.fetchedLayers, next.presentLayers], [1, 1]);

    const tag = `${repository}:${randomUUID()}`;
    await keeper.setName(tag, other.digest, { signal });
    assert.deepEqual((await imageOf(keeper, tag))?.origin, { from: "fetch" });
    const container = await others.startContainer(tag);
    assert.deepEqual((await contentOf(keeper, other.digest))?.users, [{ kind: "container", name: container }]);
    await others.removeContainer(container);

    for (const each of [tag, name]) await keeper.release(each, "remove", { signal });
    await waitUntil("its content is gone", async () => (await contentOf(keeper, other.digest)) === undefined);
    assert.equal((await contentOf(keeper, another.digest))?.isWarm, true);
  });

  test("stops when it is told to, and completes what is half done", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, repository } = await world.makeSetting(scope);
    const { another } = world.images();
    const stop = new AbortController();
    const reason = new Error("enough");
    const fetching = keeper.fetch(another.resolved, repository, {
      signal: stop.signal,
      admit: async () => stop.abort(reason),
    });
    await assert.rejects(fetching, reason);
    assert.notEqual((await contentOf(keeper, another.digest))?.isWarm, true);
    await keeper.fetch(another.resolved, repository, { signal });
    assert.equal((await contentOf(keeper, another.digest))?.isWarm, true);
  });
}
