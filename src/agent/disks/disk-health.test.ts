import assert from "node:assert/strict";
import { appendFile, chmod, copyFile, mkdir, open, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { deliver, findState, findUntil, spoilByte } from "../../../test/support/disk-finding.ts";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { makeSmallDisk, type SmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { MemoryState } from "../state/memory-state.ts";
import type { FoundDisk } from "./disk-finder.ts";
import { DiskHealth, type DiskHealthOptions } from "./disk-health.ts";
import { HostDiskFinder } from "./host-disk-finder.ts";

const neverMs = 3_600_000;

describe("storage that fails", { skip: needs("losetup", "mount", "dd") }, () => {
  const fixtures = new AsyncDisposableStack();
  let small: SmallDisk;
  before(async () => {
    small = await makeSmallDisk(fixtures);
  });
  after(() => fixtures.disposeAsync());

  /** A health that writes down what it is told to do; its log of the kernel is a file. */
  async function openHealth(scope: Scope, options: Partial<DiskHealthOptions> = {}) {
    const kernelLog = join(await temporaryDirectory(scope, "log"), "kmsg");
    await writeFile(kernelLog, "3,1,1,-;I/O error, dev loop0, sector 1 from before\n");
    const told: string[] = [];
    const health = new DiskHealth({
      probeMs: neverMs,
      kernelLog,
      ...options,
      onDoubt: (path) => told.push(`doubt ${basename(path)}`),
      onChange: () => told.push("change"),
      probe: (path) => told.push(`probe ${basename(path)}`),
    });
    scope.defer(async () => health.close());
    const fail = (device: string) =>
      appendFile(kernelLog, `3,2,2,-;I/O error, dev ${device}, sector 8 op 0x0:(READ)\n`);
    const look = async (known: ReadonlyMap<string, boolean>) => {
      await health.look(known);
      return told.splice(0);
    };
    return { health, fail, look };
  }

  test("puts the disks in doubt that stand on a device of which the kernel tells a failure, not again and again", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const paths = ["one.erofs", "two.erofs"].map((name) => join(folder, name));
    for (const path of paths) await copyFile(small.path, path);
    const [one = "", two = ""] = paths;
    const device = basename(await attachLoopDevice(scope, one));
    const { look, fail } = await openHealth(scope);
    const trusted = new Map([
      [one, true],
      [two, true],
    ]);
    assert.deepEqual(await look(trusted), ["probe one.erofs", "probe two.erofs"]);
    assert.deepEqual(await look(trusted), []);
    await fail(device);
    assert.deepEqual(await look(trusted), ["doubt one.erofs"]);
    await fail(device);
    assert.deepEqual(await look(trusted), [], "it was read again just now");
    const eager = await openHealth(scope, { doubtMs: 0 });
    await eager.look(trusted);
    for (let i = 0; i < 2; i++) {
      await eager.fail(device);
      assert.deepEqual(await eager.look(trusted), ["doubt one.erofs"]);
    }
    await eager.fail(device);
    assert.deepEqual(await eager.look(new Map([[one, false]])), [], "it is being read already");
  });

  test("says that the file system of a disk has become read-only, and has the disk read again", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "mnt");
    await run("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]);
    scope.defer(async () => void (await run("umount", ["-l", folder])));
    const path = join(folder, "one.erofs");
    await copyFile(small.path, path);
    const { health, look } = await openHealth(scope, { probeMs: 0 });
    const types = () => health.conditions(path).map(({ type }) => type);
    const trusted = new Map([[path, true]]);
    assert.deepEqual(await look(trusted), ["probe one.erofs"]);
    await run("mount", ["-o", "remount,ro", folder]);
    assert.deepEqual(await look(trusted), ["change", "probe one.erofs", "doubt one.erofs"]);
    assert.deepEqual(await look(new Map([[path, false]])), []);
    assert.deepEqual(await look(trusted), ["probe one.erofs"]);
    assert.deepEqual(types(), ["FileSystemReadOnly"]);
    await run("mount", ["-o", "remount,rw", folder]);
    assert.deepEqual(await look(trusted), ["change", "probe one.erofs"]);
    assert.deepEqual(types(), []);
    await run("mount", ["-o", "remount,ro", folder]);
    const other = await openHealth(scope, { probeMs: 0 });
    await other.look(trusted);
    assert.deepEqual(other.health.conditions(path), [], "it has always been");
  });

  async function openFinder(scope: Scope, places: { folder?: string; device?: string }, health: DiskHealthOptions) {
    const state = new MemoryState();
    // What was read in full and is sound is noted each time.
    let notes = 0;
    const note = state.change.bind(state);
    state.change = (edit) => {
      notes++;
      return note(edit);
    };
    const { folder, device } = places;
    const finder = await HostDiskFinder.open({
      places: {
        folders: folder === undefined ? [] : [folder],
        devices: device === undefined ? [] : [device],
        allow: [(await readDiskSource(small.path)).line],
      },
      state,
      pollMs: 20,
      lookMs: 60_000,
      health,
    });
    scope.defer(() => finder.close());
    return { finder, state, remembered: () => notes };
  }

  for (const [what, health, trigger] of [
    ["that the kernel tells of", { probeMs: neverMs }, true],
    ["of its index that nobody has met yet", { probeMs: 20, kernelLog: "/dev/null" }, false],
  ] as const)
    test(`a read error ${what} makes a trusted disk broken`, async () => {
      await using scope = new AsyncDisposableStack();
      const backing = join(await temporaryDirectory(scope, "backing"), "disk");
      await copyFile(small.path, backing);
      const device = await attachLoopDevice(scope, backing);
      const { finder, state } = await openFinder(scope, { device }, health);
      await findState(finder, device, "trusted");
      assert.equal(Object.keys(state.durable.seenDisks).length, 1);
      await truncate(backing, 0);
      if (trigger)
        await assert.rejects(run("dd", [`if=${device}`, "of=/dev/null", "bs=4096", "count=1", "iflag=direct"]));
      const { reason, isAltered } = await findState(finder, device, "broken");
      assert.match(reason, /cannot be read: .*EIO/);
      assert.equal(isAltered, undefined, "its bytes are not known to be others");
    });

  test("a disk whose storage failed somewhere is read in full again, and trusted when its bytes are right", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const kernelLog = join(await temporaryDirectory(scope, "log"), "kmsg");
    await writeFile(kernelLog, "");
    const { finder, state, remembered } = await openFinder(scope, { folder }, { kernelLog, probeMs: neverMs });
    await findState(finder, path, "trusted");
    assert.equal(remembered(), 1);
    const device = basename(await attachLoopDevice(scope, path));
    await appendFile(kernelLog, `3,2,2,-;I/O error, dev ${device}, sector 8 op 0x0:(READ)\n`);
    await waitUntil("it was read again", async () => remembered() === 2);
    await findState(finder, path, "trusted");
    assert.equal(Object.keys(state.durable.seenDisks).length, 1);
  });

  test("a file that is or was written to under us may have other bytes, one with other rights has not", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    await mkdir(folder, { recursive: true });
    const path = await deliver(small.path, join(folder, "one.erofs"));
    const { finder, state } = await openFinder(scope, { folder }, { kernelLog: "/dev/null", probeMs: neverMs });
    await findState(finder, path, "trusted");
    const next = async (fits: (disk: FoundDisk) => boolean) => {
      const [disk] = await findUntil(finder, ([each]) => each !== undefined && fits(each));
      return disk;
    };
    await chmod(path, 0o600);
    const chmodded = await next(({ state: now }) => now === "checking");
    assert.equal(chmodded?.isAltered, undefined);
    await findState(finder, path, "trusted");
    const writer = await open(path, "r+");
    await writer.chmod(0o644);
    assert.equal((await findState(finder, path, "refused")).isAltered, true);
    await writer.close();
    assert.equal((await findState(finder, path, "trusted")).isAltered, undefined);
    await chmod(path, 0o666);
    assert.equal((await findState(finder, path, "refused")).isAltered, undefined);
    await spoilByte(path, small.sizeBytes - 1);
    assert.equal((await next((disk) => disk.isAltered === true))?.state, "refused");
    await chmod(path, 0o644);
    const spoiled = await next(({ state: now }) => now === "checking" || now === "broken");
    assert.equal(spoiled?.isAltered, true);
    assert.equal((await findState(finder, path, "broken")).isAltered, true);
    assert.deepEqual(state.durable.seenDisks, {}, "after a restart it is read again");
  });
});
