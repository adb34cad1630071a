import assert from "node:assert/strict";
import { copyFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { failsAs, findState, findUntil, spoilByte } from "../../../test/support/disk-finding.ts";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { file, tar } from "../../../test/support/tar-maker.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { MemoryState } from "../state/memory-state.ts";
import { HostDiskFinder } from "./host-disk-finder.ts";
import type { DiskPlaces } from "./place-watch.ts";

const { signal } = new AbortController();

describe("block devices", { skip: needs("losetup") }, () => {
  const fixtures = new AsyncDisposableStack();
  /** Two of one line; the newer has another image under the same name. */
  let older: string;
  let newer: string;

  before(async () => {
    const work = await temporaryDirectory(fixtures, "device");
    const build = async (text: string, sequence: number) => {
      const folder = await temporaryDirectory(fixtures, text);
      const image = await makeImage(join(work, text), { layers: [{ tar: tar(file("etc/name", text)) }] });
      return (await buildTestDisk(folder, join(work, text), [image], { line: "fleet", sequence })).path;
    };
    older = await build("older", 1);
    newer = await build("newer", 2 ** 50);
  });
  after(() => fixtures.disposeAsync());

  const openFinder = async (scope: Scope, places: Partial<DiskPlaces>, state = new MemoryState()) => {
    const finder = await HostDiskFinder.open({
      places: { folders: [], devices: [], allow: [], ...places },
      state,
      pollMs: 50,
      lookMs: 60_000,
    });
    scope.defer(() => finder.close());
    return finder;
  };

  /** A device over a copy of a disk, changed first if so, and what takes it away. */
  const attach = async (scope: Scope, disk: string, change?: (copy: string) => Promise<void>) => {
    const copy = join(await temporaryDirectory(scope, "copy"), "disk");
    await copyFile(disk, copy);
    await change?.(copy);
    const path = (await run("losetup", ["--find", "--show", "--read-only", copy])).trim();
    let detached: Promise<string> | undefined;
    // Once: others may have the device then.
    const detach = async (): Promise<void> => {
      detached ??= run("losetup", ["--detach", path]);
      await detached;
    };
    scope.defer(detach);
    return { path, copy, detach };
  };

  test("a hostile device with our volume name, line and highest sequence changes nothing", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const ours = join(folder, "ours.erofs");
    await copyFile(older, ours);
    const unnamed = await openFinder(scope, { folders: [folder], allow: ["fleet"] });
    const trusted = await findState(unnamed, ours, "trusted");
    const hostile = await attach(scope, newer);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(await unnamed.find({ signal }), [trusted], "a device that no pattern names is not looked at");
    await assert.rejects(unnamed.open(hostile.path), failsAs("not-found"));

    const named = await openFinder(scope, { folders: [folder], devices: [hostile.path] });
    await findState(named, ours, "trusted");
    const found = await named.find({ signal });
    assert.deepEqual(
      found.map(({ path, kind, state, trustEntry }) => [path, kind, state, trustEntry]).sort(),
      [
        [hostile.path, "device", "refused", ""],
        [ours, "file", "trusted", folder],
      ].sort(),
    );
    const shown = found.find(({ path }) => path === hostile.path);
    assert.deepEqual([shown?.identity?.line, shown?.identity?.sequence], ["fleet", 2 ** 50]);
    assert.match(shown?.reason ?? "", /line "fleet".*disks\.allow/);
    await assert.rejects(named.open(hostile.path), failsAs("not-trusted", "disks.allow"));
    await assert.rejects(named.removeFile(hostile.path, shown?.identity?.id ?? ""), failsAs("not-trusted"));
  });

  test("an allowed device is read in full, is trusted for its entry, and no longer when that is taken away", async () => {
    await using scope = new AsyncDisposableStack();
    const { path } = await attach(scope, newer);
    const { id } = await readDiskSource(newer);
    const state = new MemoryState();
    for (const entry of ["fleet", id]) {
      const finder = await openFinder(scope, { devices: [path], allow: ["other", entry] }, state);
      assert.equal((await findState(finder, path, "trusted")).trustEntry, entry);
      const { disk, source } = await finder.open(path);
      await disk.close();
      assert.deepEqual([source.kind, source.path, source.id], ["block-device", path, id]);
      await assert.rejects(finder.removeFile(path, id), failsAs("not-trusted", path));
      await finder.configure({ folders: [], devices: [path], allow: ["flee", id.slice(0, 12)] });
      const [refused] = await finder.find({ signal });
      assert.equal(refused?.state, "refused", refused?.reason);
      await assert.rejects(finder.open(path), failsAs("not-trusted"));
      await finder.configure({ folders: [], devices: [], allow: [entry] });
      assert.deepEqual(await finder.find({ signal }), []);
      await finder.close();
    }
    const again = await openFinder(scope, { devices: [path], allow: ["fleet"] }, state);
    assert.equal((await again.find({ signal }))[0]?.state, "trusted", "it was read before");
  });

  test("a device that comes is noticed; one that is yanked is broken, and what is attached next is read anew", async () => {
    await using scope = new AsyncDisposableStack();
    const state = new MemoryState();
    const first = await attach(scope, older);
    const finder = await openFinder(scope, { devices: [first.path], allow: ["fleet"] }, state);
    const { identity } = await findState(finder, first.path, "trusted");
    await first.detach();
    const { reason } = await findState(finder, first.path, "broken");
    assert.match(reason, /empty or gone.*attach/);
    await assert.rejects(finder.open(first.path), failsAs("not-trusted", "gone"));
    const before = (await state.record.seenDisks[identity?.id ?? ""])?.[0];
    await run("losetup", ["--read-only", first.path, first.copy]);
    scope.defer(async () => void (await run("losetup", ["--detach", first.path])));
    await findState(finder, first.path, "trusted");
    const after = state.record.seenDisks[identity?.id ?? ""]?.[0];
    assert.deepEqual(
      [after?.path, after?.inode === before?.inode],
      [first.path, false],
      "by the number of its attachment",
    );
  });

  test("a device with wrong bytes, one that ends early, and one that holds no disk are told apart", async () => {
    await using scope = new AsyncDisposableStack();
    const spoiled = await attach(scope, older);
    await spoilByte(spoiled.copy, 4100);
    const short = await attach(scope, older, (copy) => truncate(copy, 12_288));
    const empty = await attach(scope, older, async (copy) => {
      await truncate(copy, 0);
      await truncate(copy, 1 << 20);
    });
    const finder = await openFinder(scope, { devices: [spoiled.path, short.path, empty.path], allow: ["fleet"] });
    const found = await findUntil(finder, (all) => all.length === 3 && all.every(({ state }) => state !== "checking"));
    const states = Object.fromEntries(found.map(({ path, state }) => [path, state]));
    assert.deepEqual(states, { [spoiled.path]: "broken", [short.path]: "broken", [empty.path]: "refused" });
    assert.match(found.find(({ path }) => path === empty.path)?.reason ?? "", /not a cache disk/);
  });

  test("bytes that change on a device under us are found at the latest when it is opened", async () => {
    await using scope = new AsyncDisposableStack();
    const { path, copy } = await attach(scope, older);
    const finder = await openFinder(scope, { devices: [path], allow: ["fleet"] });
    await findState(finder, path, "trusted");
    await copyFile(newer, copy);
    await run("blockdev", ["--flushbufs", path]);
    await assert.rejects(finder.open(path), failsAs("not-trusted", path));
    const { identity } = await findState(finder, path, "trusted");
    assert.equal(identity?.sequence, 2 ** 50);
  });
});
