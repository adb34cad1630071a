import assert from "node:assert/strict";
import { test } from "node:test";
import { appName, baseName, toolName } from "../runtimes/injection.ts";
import { digests, digestsOf, foreignDigest, inject, results, signal, type World } from "./setting.ts";

/** What `inject` and `status` of every runtime do. */
export function testInjecting(world: World): void {
  test("an injected disk shows in the status, with its images", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    assert.deepEqual(await runtime.status({ signal }), []);
    const { older, images } = world.disks();
    const events: string[] = [];
    const report = await inject(runtime, older, { onEvent: ({ type }) => events.push(type) });
    assert.equal(report.disk, older.disk.id);
    assert.deepEqual(
      results(report),
      [appName, toolName, baseName].map((image) => [image, "injected", "complete"]),
    );
    assert.ok(report.calls > 0 && report.transactions >= report.calls);
    assert.ok(report.seconds.usable > 0 && report.seconds.chains >= 0);
    assert.equal(events.filter((type) => type === "image-usable").length, 3);
    assert.equal(events.lastIndexOf("image-usable") < events.indexOf("chains"), true, events.join());
    const [status, ...more] = await runtime.status({ signal });
    assert.deepEqual(more, []);
    const { id, line, sequence, path } = older.source;
    assert.deepEqual(
      [status?.id, status?.line, status?.sequence, status?.source, status?.isMounted, status?.heldBy],
      [id, line, sequence, path, true, []],
    );
    assert.deepEqual(status?.conditions, []);
    assert.deepEqual(digests(status), digestsOf(images.older.app, images.older.tool, images.older.base));
    for (const { names, digest, chain, conditions } of status?.images ?? []) {
      const found = older.disk.index.images.find(({ target }) => target.digest === digest);
      assert.ok(found?.names.every((each) => names.includes(each)));
      assert.equal(chain, "complete");
      assert.deepEqual(conditions, []);
      assert.equal(await others.tag(found?.names[0] ?? ""), digest);
    }
  });

  test("injecting again changes nothing", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime } = await world.makeSetting(scope);
    const first = await inject(runtime, world.disks().older);
    const before = await runtime.status({ signal });
    const again = await inject(runtime, world.disks().older);
    assert.deepEqual(
      results(again),
      [appName, toolName, baseName].map((image) => [image, "present", "complete"]),
    );
    assert.ok(again.transactions < first.transactions / 5);
    assert.deepEqual(await runtime.status({ signal }), before);
  });

  test("the chains can be left to a later call", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const expected = (result: string, chain: string) => [
      [appName, result, chain],
      [toolName, result, chain],
      // It is its only layer.
      [baseName, result, "complete"],
    ];
    const events: string[] = [];
    const report = await inject(runtime, world.disks().older, {
      chains: false,
      onEvent: ({ type }) => events.push(type),
    });
    assert.deepEqual(results(report).slice(0, 1), expected("injected", "pending").slice(0, 1));
    assert.ok(!events.includes("chains"));
    const [status] = await runtime.status({ signal });
    assert.ok(status?.images.some(({ chain }) => chain === "pending"));
    await others.removeContainer(await others.startContainer(appName));
    assert.deepEqual(results(await inject(runtime, world.disks().older)), expected("present", "complete"));
    const [completed] = await runtime.status({ signal });
    assert.ok(completed?.images.every(({ chain }) => chain === "complete"));
  });

  test("images are injected by name, and the others later", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, images } = world.disks();
    const report = await inject(runtime, older, { images: [toolName] });
    assert.deepEqual(results(report), [[toolName, "injected", "complete"]]);
    assert.deepEqual(digests((await runtime.status({ signal }))[0]), digestsOf(images.older.tool));
    assert.equal(await others.tag(appName), undefined);
    const rest = results(await inject(runtime, older));
    assert.deepEqual(rest.slice(0, 2), [
      [appName, "injected", "complete"],
      [toolName, "present", "complete"],
    ]);
    assert.equal(await others.tag(appName), images.older.app.manifest.digest);
  });

  test("a tag that somebody else has set stays, unless it is forced", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, images } = world.disks();
    await others.setTag(appName, foreignDigest);
    const kept = await inject(runtime, older);
    assert.deepEqual(results(kept)[0], [appName, "injected", "complete", "TagKept"]);
    const message = kept.images[0]?.conditions[0]?.message ?? "";
    for (const part of [appName, foreignDigest, images.older.app.manifest.digest, "--force"])
      assert.ok(message.includes(part), message);
    assert.equal(await others.tag(appName), foreignDigest);
    assert.equal(await others.tag(toolName), images.older.tool.manifest.digest);

    const again = await inject(runtime, older);
    assert.deepEqual(results(again)[0], [appName, "present", "complete", "TagKept"]);
    const [status] = await runtime.status({ signal });
    const app = status?.images.find(({ digest }) => digest === images.older.app.manifest.digest);
    assert.deepEqual(
      app?.conditions.map(({ type }) => type),
      ["TagMoved"],
    );

    assert.deepEqual(results(await inject(runtime, older, { force: true }))[0], [appName, "injected", "complete"]);
    assert.equal(await others.tag(appName), images.older.app.manifest.digest);
  });

  test("names that are to stay are neither made nor moved", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, newer, images } = world.disks();
    await inject(runtime, older, { keepTags: [appName], force: true });
    assert.equal(await others.tag(appName), undefined);
    assert.equal(await others.tag(toolName), images.older.tool.manifest.digest);
    await inject(runtime, older);
    await inject(runtime, newer, { keepTags: [appName], force: true });
    assert.equal(await others.tag(appName), images.older.app.manifest.digest);
    assert.equal(await others.tag(toolName), images.newer.tool.manifest.digest);
  });

  test("the newer disk of a line takes over names and what both have, and the older one takes nothing back", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    const { older, newer, images } = world.disks();
    await inject(runtime, older);
    assert.deepEqual(results(await inject(runtime, newer)).slice(0, 2), [
      [appName, "injected", "complete"],
      [toolName, "injected", "complete"],
    ]);
    const check = async () => {
      assert.equal(await others.tag(appName), images.newer.app.manifest.digest);
      const [first, second, ...more] = await runtime.status({ signal });
      assert.deepEqual(more, []);
      assert.deepEqual([first?.id, second?.id], [newer.disk.id, older.disk.id]);
      assert.deepEqual(digests(first), digestsOf(images.newer.app, images.newer.tool, images.newer.base));
      assert.deepEqual(digests(second), digestsOf(images.older.app, images.older.tool));
    };
    await check();
    const back = results(await inject(runtime, older));
    assert.deepEqual(back.slice(0, 2), [
      [appName, "present", "complete", "TagKept"],
      [toolName, "present", "complete", "TagKept"],
    ]);
    await check();
  });

  test("of two calls at once each image is injected by one", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime } = await world.makeSetting(scope);
    const reports = await Promise.all([inject(runtime, world.disks().older), inject(runtime, world.disks().older)]);
    const app = reports.map(({ images }) => images[0]?.result).sort();
    assert.deepEqual(app, ["injected", "present"]);
    for (const report of reports) assert.ok(report.images.every(({ chain }) => chain === "complete"));
    assert.equal((await runtime.status({ signal })).length, 1);
  });

  test("a call that is given up throws the reason, and another one completes it", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime } = await world.makeSetting(scope);
    const reason = new Error("enough");
    const aborted = AbortSignal.abort(reason);
    await assert.rejects(inject(runtime, world.disks().older, { signal: aborted }), reason);
    await assert.rejects(runtime.status({ signal: aborted }), reason);
    const controller = new AbortController();
    const onEvent = () => controller.abort(reason);
    await assert.rejects(inject(runtime, world.disks().older, { signal: controller.signal, onEvent }), reason);
    const report = await inject(runtime, world.disks().older);
    assert.ok(report.images.every(({ chain, conditions }) => chain === "complete" && conditions.length === 0));
    const [status] = await runtime.status({ signal });
    assert.equal(status?.images.length, 3);
    assert.deepEqual(status.conditions, []);
  });

  test("the containers of its images hold a disk", async () => {
    await using scope = new AsyncDisposableStack();
    const { runtime, others } = await world.makeSetting(scope);
    await inject(runtime, world.disks().older);
    const container = await others.startContainer(appName);
    const [status] = await runtime.status({ signal });
    assert.deepEqual(status?.heldBy, [{ kind: "container", name: container }]);
    await others.removeContainer(container);
    assert.deepEqual((await runtime.status({ signal }))[0]?.heldBy, []);
  });
}
