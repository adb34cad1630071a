import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { EjectOptions } from "../../../src/runtime/runtime.ts";
import { waitUntil } from "../processes.ts";
import { appName, baseName, toolName } from "../runtimes/injection.ts";
import { digests, digestsOf, eject, failsWith, foreignDigest, inject, results, signal, type World } from "./setting.ts";

/** What `eject` of every runtime does. */
export function testEjecting(world: World): void {
  test("removes what was injected and nothing else", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older } = world.disks();
    const foreign = "example.com/somebody/else:v1";
    await others.setTag(foreign, foreignDigest);
    await others.setTag(appName, foreignDigest);
    await inject(runtime, older);
    const report = await eject(runtime, { disks: [older.disk.id] });
    assert.deepEqual(report.disks, [
      { id: older.disk.id, isReleased: true, heldBy: [], removedImages: 3, materialized: 0 },
    ]);
    assert.deepEqual(await runtime.status({ signal }), []);
    assert.equal(await others.tag(foreign), foreignDigest);
    assert.equal(await others.tag(appName), foreignDigest);
    assert.equal(await others.tag(toolName), undefined);
    assert.deepEqual((await eject(runtime)).disks, []);
    assert.deepEqual(results(await inject(runtime, older))[1], [toolName, "injected", "complete"]);
    await eject(runtime);
  });

  test("refuses while something is in use, names it, and changes nothing", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    await inject(runtime, world.disks().older);
    const container = await others.startContainer(appName);
    const before = await runtime.status({ signal });
    await assert.rejects(eject(runtime), failsWith("failed-precondition", container));
    assert.deepEqual(await runtime.status({ signal }), before);
    await others.removeContainer(container);
    assert.deepEqual(
      (await eject(runtime)).disks.map(({ isReleased }) => isReleased),
      [true],
    );
  });

  test("waits, when told to, until nothing is in use", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    await inject(runtime, world.disks().older);
    const container = await others.startContainer(appName);
    const waitedFor: string[] = [];
    const onEvent: EjectOptions["onEvent"] = (event) => {
      if (event.type === "waiting") waitedFor.push(...event.users.map(({ name }) => name));
    };
    const ejected = eject(runtime, { wait: true, onEvent });
    await waitUntil("it waits", async () => waitedFor.length > 0);
    await others.removeContainer(container);
    assert.equal((await ejected).disks[0]?.isReleased, true);
    assert.deepEqual(new Set(waitedFor), new Set([container]));
    assert.deepEqual(await runtime.status({ signal }), []);
  });

  test("stops waiting when it is given up, with nothing changed", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    await inject(runtime, world.disks().older);
    const container = await others.startContainer(appName);
    const before = await runtime.status({ signal });
    const reason = new Error("enough");
    const controller = new AbortController();
    const onEvent = () => controller.abort(reason);
    await assert.rejects(eject(runtime, { wait: true, signal: controller.signal, onEvent }), reason);
    assert.deepEqual(await runtime.status({ signal }), before);
    await others.removeContainer(container);
    await eject(runtime);
  });

  test("copies what is in use, when told to, and leaves its image to the runtime", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, images } = world.disks();
    await inject(runtime, older);
    const container = await others.startContainer(appName);
    const copied: string[] = [];
    const onEvent: EjectOptions["onEvent"] = (event) => {
      if (event.type === "materializing") copied.push(event.tree);
    };
    const [report] = (await eject(runtime, { materialize: true, onEvent })).disks;
    assert.deepEqual([report?.materialized, report?.removedImages, copied.length], [1, 2, 1]);
    assert.deepEqual(await runtime.status({ signal }), []);
    assert.equal(await others.tag(appName), images.older.app.manifest.digest);
    assert.equal(await others.tag(toolName), undefined);
    await others.removeContainer(await others.startContainer(appName));
    await others.removeContainer(container);

    // It is as one that was pulled: neither brought by the next injection nor removed with it.
    assert.deepEqual(
      (await inject(runtime, older)).images.map(({ result }) => result),
      ["present", "injected", "injected"],
    );
    await eject(runtime);
    assert.equal(await others.tag(appName), images.older.app.manifest.digest);
    assert.equal(await others.tag(toolName), undefined);
    await others.removeContainer(await others.startContainer(appName));
  });

  test("an image that others have named holds its disk, and is theirs once it is copied", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, images } = world.disks();
    const name = `example.com/others/app:${randomUUID()}`;
    const { digest } = images.older.app.manifest;
    await inject(runtime, older);
    await others.setTag(name, digest);
    await assert.rejects(eject(runtime), failsWith("failed-precondition", name));
    const [status] = await runtime.status({ signal });
    assert.deepEqual(status?.heldBy, [{ kind: "image", name }]);
    const [report] = (await eject(runtime, { materialize: true })).disks;
    assert.equal(report?.materialized, 1);
    assert.deepEqual(await runtime.status({ signal }), []);
    assert.equal(await others.tag(name), digest);
  });

  test("of the newer disk gives what both have to the older one", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, newer, images } = world.disks();
    await inject(runtime, older);
    await inject(runtime, newer);
    const container = await others.startContainer(baseName);
    assert.equal((await eject(runtime, { disks: [newer.disk.id] })).disks[0]?.id, newer.disk.id);
    const [status, ...more] = await runtime.status({ signal });
    assert.deepEqual(more, []);
    assert.equal(status?.id, older.disk.id);
    assert.deepEqual(digests(status), digestsOf(images.older.app, images.older.tool, images.older.base));
    assert.equal(await others.tag(baseName), images.older.base.manifest.digest);
    await others.removeContainer(container);
    await eject(runtime);
  });

  test("refuses a disk that is not injected", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime } = await world.makeSetting(scope);
    const { older, newer } = world.disks();
    await inject(runtime, older);
    const before = await runtime.status({ signal });
    const both = eject(runtime, { disks: [older.disk.id, newer.disk.id] });
    await assert.rejects(both, failsWith("not-found", newer.disk.id));
    assert.deepEqual(await runtime.status({ signal }), before);
  });
}
