import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { NodeContent } from "../../../src/runtime/image-keeper.ts";
import { waitUntil } from "../processes.ts";
import { inject } from "../runtime-suite/setting.ts";
import { appName } from "../runtimes/injection.ts";
import { ChangeReader, contentOf, imageOf, signal, type World } from "./setting.ts";

/** What every keeper does with names and content. */
export function testKeeping(world: World): void {
  test("says of each image whose it is, whether it is warm, and who uses it", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, runtime, others, repository } = await world.makeSetting(scope);
    const { disk, app, other } = world.images();
    const name = `${repository}:${randomUUID()}`;
    await inject(runtime, disk);
    await others.pull(name, other);
    const container = await others.startContainer(appName);

    assert.equal(keeper.name, runtime.name);
    assert.equal(keeper.platform.os, "linux");
    const { images, contents } = await keeper.observe({ signal });
    const injected = images.find((image) => image.name === appName);
    assert.deepEqual(injected?.origin, { from: "disk", disk: disk.source.id });
    assert.deepEqual([injected?.digest, injected?.isPinned], [app.digest, true]);
    // Not every keeper says how old an image is.
    const withoutAge = (content: NodeContent | undefined) => content && { ...content, createdSeconds: undefined };
    assert.deepEqual(withoutAge(contents.get(app.digest)), {
      createdSeconds: undefined,
      digest: app.digest,
      isWarm: true,
      missing: "",
      users: [{ kind: "container", name: container }],
    });
    const pulled = images.find((image) => image.name === name);
    assert.deepEqual(pulled?.origin, { from: "elsewhere" });
    const unused = { createdSeconds: undefined, digest: other.digest, isWarm: true, missing: "", users: [] };
    assert.deepEqual(withoutAge(contents.get(other.digest)), unused);
    assert.ok(images.every((image) => !image.name.startsWith("sha256:")));

    await others.removeContainer(container);
    assert.deepEqual((await contentOf(keeper, app.digest))?.users, []);
  });

  test("an image of a disk that is away is not warm, and is again when it is back", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, runtime, others } = await world.makeSetting(scope);
    const { disk, app } = world.images();
    await inject(runtime, disk);
    await others.takeAway(disk.source.id);
    const away = await contentOf(keeper, app.digest);
    assert.equal(away?.isWarm, false);
    assert.match(away.missing, /is not mounted/);
    await inject(runtime, disk);
    assert.equal((await contentOf(keeper, app.digest))?.isWarm, true);
  });

  test("nothing starts from a disk that it was cut off from, until that is injected again", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, runtime, others } = await world.makeSetting(scope);
    const { disk, app } = world.images();
    await keeper.cutOff(disk.source.id, { signal });
    await inject(runtime, disk);
    const container = await others.startContainer(appName);
    for (let i = 0; i < 2; i++) await keeper.cutOff(disk.source.id, { signal });
    const away = await contentOf(keeper, app.digest);
    assert.match(away?.missing ?? "", /is not mounted/);
    assert.deepEqual(away?.users, [{ kind: "container", name: container }]);
    assert.equal((await imageOf(keeper, appName))?.digest, app.digest);
    const [status] = await runtime.status({ signal });
    assert.equal(status?.isMounted, false);
    await inject(runtime, disk);
    assert.equal((await contentOf(keeper, app.digest))?.isWarm, true);
    await others.removeContainer(container);
  });

  test("moves a name to a digest that is warm, whoever set it, and pins it", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, runtime, others, repository } = await world.makeSetting(scope);
    const { disk, app, other } = world.images();
    const name = `${repository}:${randomUUID()}`;
    await inject(runtime, disk);
    await others.pull(name, other);
    await keeper.setName(name, app.digest, { signal });
    const moved = await imageOf(keeper, name);
    assert.deepEqual(moved, {
      name,
      digest: app.digest,
      origin: { from: "disk", disk: disk.source.id },
      isPinned: true,
    });
    const fresh = `${repository}:${randomUUID()}`;
    await keeper.setName(fresh, app.digest, { signal });
    assert.equal((await imageOf(keeper, fresh))?.digest, app.digest);
    assert.equal((await contentOf(keeper, app.digest))?.isWarm, true);
    await others.removeContainer(await others.startContainer(fresh));

    await keeper.release(fresh, "remove", { signal });
    assert.equal(await imageOf(keeper, fresh), undefined);
    assert.equal((await imageOf(keeper, appName))?.isPinned, true);
  });

  test("refuses to name what is not warm", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, repository } = await world.makeSetting(scope);
    const { another } = world.images();
    const name = `${repository}:${randomUUID()}`;
    await assert.rejects(keeper.setName(name, another.digest, { signal }), { code: "failed-precondition" });
    assert.equal(await imageOf(keeper, name), undefined);
  });

  test("pins what others named, and gives it back as theirs", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, others, repository, hasPins } = await world.makeSetting(scope);
    const { other } = world.images();
    const name = `${repository}:${randomUUID()}`;
    await others.pull(name, other);
    await keeper.setName(name, other.digest, { signal });
    const pinned = { name, digest: other.digest, origin: { from: "elsewhere" }, isPinned: true };
    assert.deepEqual(await imageOf(keeper, name), pinned);
    await keeper.setName(name, other.digest, { signal });
    assert.deepEqual(await imageOf(keeper, name), pinned);
    await keeper.release(name, "remove", { signal });
    assert.deepEqual(await imageOf(keeper, name), { ...pinned, isPinned: !hasPins });
    await others.collectGarbage();
    assert.equal((await contentOf(keeper, other.digest))?.isWarm, true);
  });

  test("lets go of a name: removed, or left as if it had been pulled", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, others, repository, hasPins } = await world.makeSetting(scope);
    const { other } = world.images();
    const [theirs, removed, unpinned] = [
      `${repository}:${randomUUID()}`,
      `${repository}:${randomUUID()}`,
      `${repository}:${randomUUID()}`,
    ];
    await others.pull(theirs, other);
    for (const name of [removed, unpinned]) {
      await keeper.setName(name, other.digest, { signal });
      assert.deepEqual((await imageOf(keeper, name))?.origin, { from: "fetch" });
    }
    await keeper.release(unpinned, "unpin", { signal });
    const left = await imageOf(keeper, unpinned);
    assert.deepEqual([left?.digest, left?.origin], [other.digest, { from: "elsewhere" }]);
    await keeper.release(removed, "remove", { signal });
    assert.equal(await imageOf(keeper, removed), undefined);
    await keeper.release(removed, "remove", { signal });

    // Names of the digest that were set beside are let go of like any other.
    for (const { name, origin } of (await keeper.observe({ signal })).images)
      if (origin.from === "fetch") await keeper.release(name, "remove", { signal });
    assert.deepEqual(await imageOf(keeper, theirs), {
      name: theirs,
      digest: other.digest,
      origin: { from: "elsewhere" },
      isPinned: !hasPins,
    });
    await others.removeImage(theirs);
    assert.equal(await imageOf(keeper, unpinned), undefined);
    await waitUntil("its content is gone", async () => (await contentOf(keeper, other.digest)) === undefined);
  });

  test("a name that a pull has set again is not removed", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, others, repository } = await world.makeSetting(scope);
    const { other, another } = world.images();
    const name = `${repository}:${randomUUID()}`;
    await others.pull(name, other);
    await others.pull(`${repository}:${randomUUID()}`, another);
    await keeper.setName(name, another.digest, { signal });
    assert.deepEqual((await imageOf(keeper, name))?.origin, { from: "fetch" });
    await others.pull(name, other);
    await keeper.release(name, "remove", { signal });
    const left = await imageOf(keeper, name);
    assert.deepEqual([left?.digest, left?.origin], [other.digest, { from: "elsewhere" }]);
  });

  test("does nothing once it is told to stop", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, repository } = await world.makeSetting(scope);
    const reason = new Error("enough");
    const stopped = { signal: AbortSignal.abort(reason) };
    await assert.rejects(keeper.observe(stopped), reason);
    await assert.rejects(keeper.release(`${repository}:${randomUUID()}`, "remove", stopped), reason);
    for await (const change of keeper.changes(stopped)) assert.fail(JSON.stringify(change));
  });
}

/** How every keeper tells what others do. */
export function testTelling(world: World): void {
  test("tells of names that are set and removed, by whomsoever", async () => {
    await using scope = new AsyncDisposableStack();
    const { keeper, others, repository } = await world.makeSetting(scope);
    const { other } = world.images();
    const end = new AbortController();
    const changes = new ChangeReader(keeper, end.signal);
    assert.deepEqual(await changes.listening(), [{ type: "listening" }]);
    const [name, ours] = [`${repository}:${randomUUID()}`, `${repository}:${randomUUID()}`];
    await others.pull(name, other);
    await changes.changed(name);
    await keeper.setName(ours, other.digest, { signal });
    await changes.changed(ours);
    await others.removeName(name);
    await changes.changed(name);
    await others.removeImage(ours);
    await changes.changed(ours);
    assert.equal(await imageOf(keeper, ours), undefined);
    const ended = changes.upTo("the end", () => false);
    end.abort();
    await assert.rejects(ended, /ended/);
  });

  for (const how of ["stop", "kill"] as const) {
    test(`goes on when the daemon ends (${how}) and comes back`, async () => {
      await using scope = new AsyncDisposableStack();
      const { keeper, others, repository } = await world.makeSetting(scope);
      const { other, another } = world.images();
      const end = new AbortController();
      scope.defer(() => end.abort());
      const changes = new ChangeReader(keeper, end.signal);
      await changes.listening();
      const name = `${repository}:${randomUUID()}`;
      await others.pull(name, other);
      await others.restart(how);
      const seen = await changes.listening();
      assert.deepEqual(
        seen.filter(({ type }) => type !== "changed").map(({ type }) => type),
        ["lost", "listening"],
      );
      assert.equal((await imageOf(keeper, name))?.digest, other.digest);
      assert.equal((await contentOf(keeper, other.digest))?.isWarm, true);
      const later = `${repository}:${randomUUID()}`;
      await others.pull(later, another);
      await changes.changed(later);
    });
  }
}
