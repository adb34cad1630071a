import assert from "node:assert/strict";
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { deliver, failsAs, findState, findUntil, spoilByte } from "../../../test/support/disk-finding.ts";
import { needsRoot } from "../../../test/support/privileges.ts";
import { makeSmallDisk, type SmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { openDiskSource } from "../../runtime/host/disk-source.ts";
import { MemoryState } from "../state/memory-state.ts";
import type { DiskFinder } from "./disk-finder.ts";
import { diskIdentity } from "./disk-identity.ts";
import { HostDiskFinder } from "./host-disk-finder.ts";
import { MemoryDiskFinder } from "./memory-disk-finder.ts";

/** A finder, and what a person does to its disks. */
type Setting = {
  readonly finder: DiskFinder;
  /** Brings a disk under a name; its path. */
  readonly deliver: (disk: SmallDisk, name: string) => Promise<string>;
  readonly spoil: (path: string) => Promise<void>;
  /** Lets others than root write to it. */
  readonly distrust: (path: string) => Promise<void>;
  readonly remove: (path: string) => Promise<void>;
};

const { signal } = new AbortController();

function conformance(name: string, skip: string | false, makeSetting: (scope: Scope) => Promise<Setting>): void {
  describe(`${name} keeps the contract of disk finders`, { skip }, () => {
    const fixtures = new AsyncDisposableStack();
    let disk: SmallDisk;
    let id: string;

    before(async () => {
      disk = await makeSmallDisk(fixtures);
      const open = await openDiskSource(disk.path);
      id = open.disk.id;
      await open.disk.close();
    });
    after(() => fixtures.disposeAsync());

    test("a disk that is delivered becomes trusted, says what it is, and opens", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver } = await makeSetting(scope);
      assert.deepEqual(await finder.find({ signal }), []);
      const path = await deliver(disk, "one.erofs");
      const found = await findState(finder, path, "trusted");
      assert.deepEqual([found.kind, found.reason, found.checkedShare], ["file", "", undefined]);
      assert.notEqual(found.trustEntry, "");
      assert.deepEqual([found.identity?.id, found.identity?.line, found.identity?.createdSeconds], [id, "test", 1.7e9]);
      assert.deepEqual(found.identity?.images[0]?.names, ["example.com/test/image:0"]);
      const opened = await finder.open(path);
      scope.defer(() => opened.disk.close());
      assert.deepEqual([opened.disk.id, opened.source.id, opened.source.path], [id, id, path]);
    });

    test("nothing has changed until something does, and changes that come together are one", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver } = await makeSetting(scope);
      const stop = new AbortController();
      const changes = finder.changes({ signal: stop.signal })[Symbol.asyncIterator]();
      const paths = await Promise.all(["a.erofs", "b.erofs", "c.erofs"].map((each) => deliver(disk, each)));
      assert.equal((await changes.next()).done, false);
      const found = await findUntil(finder, (all) => all.filter(({ state }) => state === "trusted").length === 3);
      assert.deepEqual(
        found.map(({ path }) => path),
        paths,
      );
      stop.abort();
      assert.equal((await changes.next()).done, true);
      assert.equal((await finder.changes({ signal: stop.signal })[Symbol.asyncIterator]().next()).done, true);
    });

    test("a disk whose bytes are wrong is broken and does not open", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver, spoil } = await makeSetting(scope);
      const path = await deliver(disk, "one.erofs");
      await findState(finder, path, "trusted");
      await spoil(path);
      const { reason } = await findState(finder, path, "broken");
      assert.ok(reason.includes(path), reason);
      await assert.rejects(finder.open(path), failsAs("not-trusted", path));
    });

    test("a disk that others can write is refused, and does not open", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver, distrust } = await makeSetting(scope);
      const path = await deliver(disk, "one.erofs");
      await findState(finder, path, "trusted");
      await distrust(path);
      const { reason, trustEntry } = await findState(finder, path, "refused");
      assert.deepEqual([reason.includes(path), trustEntry], [true, ""]);
      await assert.rejects(finder.open(path), failsAs("not-trusted", path));
    });

    test("a disk that is gone is not found", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver, remove } = await makeSetting(scope);
      const path = await deliver(disk, "one.erofs");
      await findState(finder, path, "trusted");
      await remove(path);
      await findUntil(finder, (found) => found.length === 0);
      await assert.rejects(finder.open(path), failsAs("not-found", path));
      await assert.rejects(finder.removeFile(path, id), failsAs("not-found", path));
    });

    test("only the file of the disk that is meant is removed", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder, deliver } = await makeSetting(scope);
      const path = await deliver(disk, "one.erofs");
      await findState(finder, path, "trusted");
      await assert.rejects(finder.removeFile(path, "0".repeat(64)), failsAs("not-trusted", path));
      await findState(finder, path, "trusted");
      await finder.removeFile(path, id);
      assert.deepEqual(await finder.find({ signal }), []);
    });

    test("it may be closed twice, and finds nothing for who has been told to stop", async () => {
      await using scope = new AsyncDisposableStack();
      const { finder } = await makeSetting(scope);
      await assert.rejects(finder.find({ signal: AbortSignal.abort(new RangeError("stopped")) }), RangeError);
      await finder.close();
      await finder.close();
    });
  });
}

conformance("MemoryDiskFinder", false, async (scope) => {
  const finder = new MemoryDiskFinder();
  const folder = await temporaryDirectory(scope, "disks");
  const become = async (path: string, state: "broken" | "refused") => {
    const found = (await finder.find({ signal })).find((disk) => disk.path === path);
    assert.ok(found);
    const reason = `${path}: made so`;
    finder.put({ ...found, state, reason, ...(state === "refused" && { identity: undefined, trustEntry: "" }) });
  };
  return {
    finder,
    deliver: async ({ path: from }, name) => {
      const path = join(folder, name);
      const { disk } = await openDiskSource(from);
      const identity = diskIdentity(disk.index);
      await disk.close();
      const found = { path, kind: "file", trustEntry: folder, identity } as const;
      finder.put({ ...found, state: "checking", reason: "is read", checkedShare: 0 });
      const open = async () => {
        const opened = await openDiskSource(from);
        return { disk: opened.disk, source: { ...opened.source, path } };
      };
      setImmediate(() => finder.put({ ...found, state: "trusted", reason: "" }, open));
      return path;
    },
    spoil: (path) => become(path, "broken"),
    distrust: (path) => become(path, "refused"),
    remove: async (path) => finder.take(path),
  };
});

conformance("HostDiskFinder", needsRoot, async (scope) => {
  const folder = join(await temporaryDirectory(scope, "disks"), "disks");
  await mkdir(folder);
  const places = { folders: [folder], devices: [], allow: [] };
  const finder = await HostDiskFinder.open({ places, state: new MemoryState(), pollMs: 100, lookMs: 60_000 });
  scope.defer(() => finder.close());
  return {
    finder,
    deliver: (disk, name) => deliver(disk.path, join(folder, name)),
    spoil: (path) => spoilByte(path, 4096),
    distrust: (path) => chmod(path, 0o666),
    remove: (path) => rm(path),
  };
});
