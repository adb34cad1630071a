import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  copyFile,
  link,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { deliver, failsAs, findState, findUntil, spoilByte } from "../../../test/support/disk-finding.ts";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { needs, needsRoot } from "../../../test/support/privileges.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { holdStorageThreads, replaceChildren } from "../../../test/support/silent-storage.ts";
import { makeSmallDisk, type SmallDisk } from "../../../test/support/small-disk.ts";
import { file, tar } from "../../../test/support/tar-maker.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { AgentError } from "../agent-error.ts";
import type { DiskMemory } from "../state/agent-state.ts";
import { MemoryState } from "../state/memory-state.ts";
import { HostDiskFinder } from "./host-disk-finder.ts";

const { signal } = new AbortController();
const pollMs = 50;
/** Slow machines are not what is tested. */
const lookMs = 60_000;

async function openFinder(scope: Scope, folders: readonly string[], state: DiskMemory = new MemoryState()) {
  const finder = await HostDiskFinder.open({ places: { folders, devices: [], allow: [] }, state, pollMs, lookMs });
  scope.defer(() => finder.close());
  return finder;
}

const statesOf = async (finder: HostDiskFinder) =>
  Object.fromEntries((await finder.find({ signal })).map(({ path, state }) => [path.split("/").at(-1), state]));

describe("disks of the machine", { skip: needsRoot }, () => {
  const fixtures = new AsyncDisposableStack();
  let small: SmallDisk;
  let other: SmallDisk;
  let large: SmallDisk;
  let smallId: string;

  before(async () => {
    small = await makeSmallDisk(fixtures);
    other = await makeSmallDisk(fixtures, "other\n");
    smallId = (await readDiskSource(small.path)).id;
    const work = await temporaryDirectory(fixtures, "large");
    const image = await makeImage(join(work, "layout"), {
      layers: [{ tar: tar(file("big", randomBytes(48 << 20))), compression: "none" }],
    });
    large = await buildTestDisk(work, join(work, "layout"), [image]);
  });
  after(() => fixtures.disposeAsync());

  test("a disk is read once, and again only when its file is another one", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const state = new MemoryState();
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const first = await openFinder(scope, [folder], state);
    assert.deepEqual(await statesOf(first), { "one.erofs": "checking" });
    await assert.rejects(first.open(path), failsAs("not-trusted", "read in full"));
    await findState(first, path, "trusted");
    await first.close();
    assert.deepEqual(Object.keys(state.durable.seenDisks), [smallId]);
    const second = await openFinder(scope, [folder], state);
    assert.deepEqual(await statesOf(second), { "one.erofs": "trusted" });
    await link(path, join(folder, "two"));
    assert.deepEqual(await statesOf(second), { "one.erofs": "checking" });
    await findState(second, path, "trusted");
    await deliver(small.path, path);
    assert.deepEqual(await statesOf(second), { "one.erofs": "checking" });
    await findState(second, path, "trusted");
    await deliver(other.path, path);
    const replaced = await findState(second, path, "trusted");
    assert.notEqual(replaced.identity?.id, smallId);
    const third = await openFinder(scope, [folder], state);
    assert.deepEqual(await statesOf(third), { "one.erofs": "trusted" });
  });

  test("what lies there at the start is no change, what comes then is one", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    await deliver(small.path, join(folder, "small.erofs"));
    const finder = await openFinder(scope, [folder]);
    const changes = finder.changes({ signal })[Symbol.asyncIterator]();
    const first = changes.next().then(() => "changed");
    assert.equal(await Promise.race([first, sleep(500, "quiet")]), "quiet");
    await deliver(other.path, join(folder, "other.erofs"));
    assert.equal(await first, "changed");
  });

  test("copies of one disk do not push each other out", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const state = new MemoryState();
    for (const name of ["a", "b", "c"]) await deliver(small.path, join(folder, `${name}.erofs`));
    const first = await openFinder(scope, [folder], state);
    await findUntil(first, (found) => found.every((disk) => disk.state === "trusted"));
    const second = await openFinder(scope, [folder], state);
    assert.deepEqual(await statesOf(second), { "a.erofs": "trusted", "b.erofs": "trusted", "c.erofs": "trusted" });
  });

  test("a disk that was put into the root file system is not read, once", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const seeded = { path, sizeBytes: small.sizeBytes };
    const state = new MemoryState();
    await state.change((record) => ({ ...record, seededDisks: { [smallId]: seeded } }));
    const finder = await openFinder(scope, [folder], state);
    assert.deepEqual(await statesOf(finder), { "one.erofs": "trusted" });
    assert.deepEqual([Object.keys(state.record.seededDisks), Object.keys(state.record.seenDisks)], [[], [smallId]]);
    await deliver(small.path, path);
    assert.deepEqual(await statesOf(finder), { "one.erofs": "checking" });
  });

  test("when the state cannot be written, disks are found all the same", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const state = new MemoryState();
    state.fail(new AgentError("no-space", "full"));
    const path = await deliver(small.path, join(folder, "one.erofs"));
    await findState(await openFinder(scope, [folder], state), path, "trusted");
  });

  test("only files that could be disks are looked at, and never through links or pipes", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const outside = await temporaryDirectory(scope, "outside");
    await deliver(small.path, join(outside, "disk.erofs"));
    await copyFile(small.path, join(folder, ".hidden.erofs"));
    await copyFile(small.path, join(folder, "other.img"));
    await symlink(join(outside, "disk.erofs"), join(folder, "link.erofs"));
    await mkdir(join(folder, "folder.erofs"));
    await run("mkfifo", [join(folder, "pipe.erofs")]);
    await run("mknod", [join(folder, "device.erofs"), "c", "1", "5"]);
    await writeFile(join(folder, "empty.erofs"), "");
    await writeFile(join(folder, "text.erofs"), "x".repeat(10_000));
    const finder = await openFinder(scope, [folder]);
    assert.deepEqual(await statesOf(finder), {
      "device.erofs": "refused",
      "empty.erofs": "broken",
      "folder.erofs": "refused",
      "link.erofs": "refused",
      "pipe.erofs": "refused",
      "text.erofs": "broken",
    });
    for (const { reason, path } of await finder.find({ signal })) assert.ok(reason.includes(path), reason);
    await assert.rejects(finder.open(join(folder, ".hidden.erofs")), failsAs("not-found"));
    await assert.rejects(finder.open(join(outside, "disk.erofs")), failsAs("not-found"));
    await assert.rejects(finder.open(join(folder, "link.erofs")), failsAs("not-trusted", "link"));
  });

  test("a file is taken when whoever writes it has closed it", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = join(folder, "one.erofs");
    const finder = await openFinder(scope, [folder]);
    {
      await using writer = await open(path, "w");
      const bytes = await readFile(small.path);
      await writer.write(bytes.subarray(0, 8192));
      assert.match((await findState(finder, path, "refused")).reason, /open for writing.*rename/);
      await writer.write(bytes.subarray(8192));
      await sleep(3 * pollMs);
      assert.deepEqual(await statesOf(finder), { "one.erofs": "refused" });
    }
    await findState(finder, path, "trusted");
    await using _ = await open(path, "a");
    await assert.rejects(finder.open(path), failsAs("not-trusted", "open for writing"));
  });

  test("bytes that are wrong anywhere, and a file that is cut short, are found out", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const positions = [1024, 1100, 4096, 4097, (small.sizeBytes / 2) | 0, small.sizeBytes - 4096];
    for (const position of positions) {
      const path = await deliver(small.path, join(folder, `at-${position}.erofs`));
      await spoilByte(path, position);
    }
    const cut = await deliver(small.path, join(folder, "cut.erofs"));
    await truncate(cut, small.sizeBytes - 4096);
    const finder = await openFinder(scope, [folder]);
    const found = await findUntil(finder, (all) => all.every(({ state }) => state !== "checking"));
    assert.equal(found.length, positions.length + 1);
    for (const { path, state, reason } of found) assert.deepEqual([path, state], [path, "broken"], reason);
  });

  test("a trusted file that is changed or cut short under us is broken, and trusted again when it is whole", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const finder = await openFinder(scope, [folder]);
    await findState(finder, path, "trusted");
    await spoilByte(path, 4100);
    // Times that are set back do not hide it.
    await utimes(path, 0, 0);
    await findState(finder, path, "broken");
    await spoilByte(path, 4100);
    await findState(finder, path, "trusted");
    await truncate(path, 8192);
    await findState(finder, path, "broken");
    await deliver(small.path, path);
    await findState(finder, path, "trusted");
  });

  test("what is swapped between finding and opening is not opened", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const finder = await openFinder(scope, [folder]);
    await findState(finder, path, "trusted");
    await deliver(other.path, path);
    await assert.rejects(finder.open(path), failsAs("not-trusted", "changed"));
    await assert.rejects(finder.removeFile(path, smallId), failsAs("not-trusted"));
    await findState(finder, path, "trusted");
    const { disk } = await finder.open(path);
    await disk.close();
  });

  test("a disk that goes while it is read makes room for the next, and the agent ends at once", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(large.path, join(folder, "a.erofs"));
    const next = await deliver(small.path, join(folder, "b.erofs"));
    const finder = await openFinder(scope, [folder]);
    await waitUntil("it is being read", async () => {
      const [found] = await finder.find({ signal });
      return found?.state !== "checking" || (found.checkedShare ?? 0) > 0;
    });
    await rm(path);
    await findState(finder, next, "trusted");
    await deliver(large.path, path);
    assert.deepEqual(await statesOf(finder), { "a.erofs": "checking", "b.erofs": "trusted" });
    await finder.close();
  });

  test("folders may come, be replaced and go", { skip: needs("mount") }, async () => {
    await using scope = new AsyncDisposableStack();
    const work = await temporaryDirectory(scope, "disks");
    const folder = join(work, "later/disks");
    const finder = await openFinder(scope, [folder]);
    assert.deepEqual(await statesOf(finder), {});
    await mkdir(folder, { recursive: true });
    const path = await deliver(small.path, join(folder, "one.erofs"));
    await findState(finder, path, "trusted");
    await rename(folder, `${folder}.before`);
    await findUntil(finder, (found) => found.length === 0);
    await mkdir(folder);
    await deliver(other.path, path);
    await findState(finder, path, "trusted");
    await run("mount", ["-t", "tmpfs", "-o", "mode=755", "tmpfs", folder]);
    scope.defer(async () => void (await run("umount", [folder]).catch(() => "")));
    await findUntil(finder, (found) => found.length === 0);
    const mounted = await deliver(small.path, join(folder, "mounted.erofs"));
    await findState(finder, mounted, "trusted");
    await run("umount", [folder]);
    await findUntil(finder, (found) => found.length === 1 && found[0]?.path === path && found[0].state === "trusted");
    await run("chmod", ["o+w", work]);
    assert.ok((await findState(finder, path, "refused")).reason.includes(work));
  });

  test("a trusted disk stays so while its folder does not answer, and is not opened meanwhile", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const finder = await openFinder(scope, [folder]);
    await findState(finder, path, "trusted");
    await holdStorageThreads(scope);
    await replaceChildren(scope, "exec sleep 1000");
    const states = (await finder.find({ signal })).map((disk) => [disk.path, disk.state]);
    assert.deepEqual(states, [
      [folder, "broken"],
      [path, "trusted"],
    ]);
    await assert.rejects(finder.open(path), failsAs("not-trusted", "does not answer"));
  });

  for (const areThreadsHeld of [false, true]) {
    const when = areThreadsHeld ? "when the threads for storage wait for others" : "however many they are";
    test(`each folder is watched, ${when}`, async () => {
      await using scope = new AsyncDisposableStack();
      if (areThreadsHeld) await holdStorageThreads(scope);
      const folders: string[] = [];
      for (const name of ["a", "b", "c"]) folders.push(await temporaryDirectory(scope, name));
      const places = { folders, devices: [], allow: [] };
      // Nothing but inotify tells.
      const finder = await HostDiskFinder.open({ places, state: new MemoryState(), pollMs: 3_600_000, lookMs });
      scope.defer(() => finder.close());
      const stop = AbortSignal.timeout(120_000);
      const changes = finder.changes({ signal: stop })[Symbol.asyncIterator]();
      assert.deepEqual(await statesOf(finder), {});
      await deliver(small.path, join(folders[2] ?? "", "one.erofs"));
      let states = {};
      while (!("one.erofs" in states)) {
        assert.equal((await changes.next()).done, false, "nothing was noticed");
        states = await statesOf(finder);
      }
    });
  }

  test("without inotify, folders are looked at now and then", { skip: needs("unshare") }, async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    await run("chmod", ["755", folder]);
    const script = `
      import { watch } from "node:fs";
      import { HostDiskFinder } from ${JSON.stringify(join(import.meta.dirname, "host-disk-finder.ts"))};
      import { MemoryState } from ${JSON.stringify(join(import.meta.dirname, "../state/memory-state.ts"))};
      import { deliver, findState, spoilByte } from ${JSON.stringify(join(import.meta.dirname, "../../../test/support/disk-finding.ts"))};
      const [folder, disk] = process.argv.slice(1);
      try { watch(folder).close(); console.log("inotify works"); } catch ({ code }) { console.log(code); }
      const places = { folders: [folder], devices: [], allow: [] };
      const finder = await HostDiskFinder.open({ places, state: new MemoryState(), pollMs: 20 });
      const path = await deliver(disk, folder + "/one.erofs");
      await findState(finder, path, "trusted");
      await spoilByte(path, 4096);
      await findState(finder, path, "broken");
      await finder.close();
      console.log("done");`;
    const shell = 'echo 0 > /proc/sys/user/max_inotify_watches && exec "$0" --input-type=module -e "$3" "$1" "$2"';
    const output = await run("unshare", [
      ...["--user", "--map-root-user", "sh", "-c", shell],
      ...[process.execPath, folder, small.path, script],
    ]);
    assert.deepEqual(output.trim().split("\n"), ["ENOSPC", "done"]);
  });
});
