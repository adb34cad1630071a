import assert from "node:assert/strict";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { startInMountNamespace } from "../../../test/support/mount-namespace.ts";
import { needs, needsRoot } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { type DiskSource, readDiskSource } from "./disk-source.ts";
import { HostError, type HostErrorCode } from "./host-error.ts";
import { findLoopDevice, isDeviceInUse, loopBackingFile } from "./loop-device.ts";
import { MemoryMounts } from "./memory-mounts.ts";
import { openMountNamespace } from "./mount-namespace.ts";
import type { Mounts } from "./mounts.ts";
import { SystemMounts } from "./system-mounts.ts";

/** What a suite runs on: mounts, two disks, and folders that exist. */
type Setting = {
  readonly mounts: Mounts;
  readonly disk: DiskSource;
  readonly otherDisk: DiskSource;
  readonly folder: (name: string) => Promise<string>;
};

const failsWith = (code: HostErrorCode, message?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof HostError, String(error));
  assert.equal(error.code, code, error.message);
  if (message !== undefined) assert.match(error.message, message);
  return true;
};

function conformance(name: string, skip: string | false, makeSetting: (scope: Scope) => Promise<Setting>): void {
  describe(`${name} keeps the contract of mounts`, { skip }, () => {
    test("a disk is mounted once, read-only and without devices, however often it is asked for", async () => {
      await using scope = new AsyncDisposableStack();
      const { mounts, disk, folder } = await makeSetting(scope);
      const target = await folder("disk");
      const first = await mounts.mountDisk(disk, target);
      assert.equal(first.isNew, true);
      const table = await mounts.table();
      const entry = table.at(target);
      assert.equal(entry?.type, "erofs");
      assert.equal(entry?.root, "/");
      assert.deepEqual(entry?.device, first.device);
      assert.ok(entry?.options.includes("ro") && entry.options.includes("nodev"));
      assert.deepEqual(await mounts.mountDisk(disk, target), { device: first.device, isNew: false });
      assert.equal((await mounts.table()).ofDevice(first.device).length, 1);
      assert.equal(await mounts.unmount(target), true);
      assert.equal((await mounts.table()).at(target), undefined);
      assert.equal(await mounts.unmount(target), false);
    });

    test("one disk in two places is one file system", async () => {
      await using scope = new AsyncDisposableStack();
      const { mounts, disk, folder } = await makeSetting(scope);
      const [one, other] = [await folder("one"), await folder("other")];
      const first = await mounts.mountDisk(disk, one);
      assert.deepEqual(await mounts.mountDisk(disk, other), { device: first.device, isNew: true });
      assert.equal((await mounts.table()).ofDevice(first.device).length, 2);
      await mounts.unmount(one);
      await mounts.unmount(other);
    });

    test("where another disk is mounted none is put on top", async () => {
      await using scope = new AsyncDisposableStack();
      const { mounts, disk, otherDisk, folder } = await makeSetting(scope);
      const target = await folder("disk");
      await mounts.mountDisk(disk, target);
      await assert.rejects(mounts.mountDisk(otherDisk, target), failsWith("occupied", /unmount it first/));
      await assert.rejects(mounts.bind(await folder("plain"), target), failsWith("occupied"));
      await mounts.unmount(target);
    });

    test("a bind mount shows a folder of a disk, once", async () => {
      await using scope = new AsyncDisposableStack();
      const { mounts, disk, folder } = await makeSetting(scope);
      const [target, carrier] = [await folder("disk"), await folder("carrier")];
      const { device } = await mounts.mountDisk(disk, target);
      await mounts.bind(join(target, "layers"), carrier);
      await mounts.bind(join(target, "layers"), carrier);
      const table = await mounts.table();
      assert.equal(table.ofDevice(device).length, 2);
      const entry = table.at(carrier);
      assert.equal(entry?.root, "/layers");
      assert.ok(entry?.options.includes("ro") && entry.options.includes("nodev"));
      await assert.rejects(mounts.bind(target, carrier), failsWith("occupied"));
      await mounts.unmount(carrier);
      await mounts.unmount(target);
      assert.deepEqual((await mounts.table()).ofDevice(device), []);
    });

    test("two that mount or bind at the same time end with one mount", async () => {
      await using scope = new AsyncDisposableStack();
      const { mounts, disk, folder } = await makeSetting(scope);
      const [target, carrier] = [await folder("disk"), await folder("carrier")];
      const mounted = await Promise.all(Array.from({ length: 4 }, () => mounts.mountDisk(disk, target)));
      assert.equal(mounted.filter(({ isNew }) => isNew).length, 1);
      await Promise.all(Array.from({ length: 4 }, () => mounts.bind(target, carrier)));
      assert.equal((await mounts.table()).ofDevice(mounted[0]?.device ?? { major: 0, minor: 0 }).length, 2);
      const removed = await Promise.all([mounts.unmount(carrier), mounts.unmount(carrier)]);
      assert.deepEqual(removed.sort(), [false, true]);
      await mounts.unmount(target);
    });
  });
}

conformance("MemoryMounts", false, async () => {
  const disk = (name: string): DiskSource => ({
    path: `/disks/${name}`,
    kind: "file",
    device: undefined,
    sizeBytes: 1 << 20,
    id: name.repeat(64),
    line: "test",
    sequence: 1,
  });
  const folder = async (name: string) => `/run/${name}`;
  return { mounts: new MemoryMounts(), disk: disk("a"), otherDisk: disk("b"), folder };
});

conformance("SystemMounts", needsRoot, (scope) => systemSetting(scope, new SystemMounts()));

conformance("SystemMounts in another mount namespace", needs("unshare"), async (scope) => {
  const namespace = await openMountNamespace(await startInMountNamespace(scope));
  scope.defer(() => namespace.close());
  return systemSetting(scope, new SystemMounts(namespace));
});

async function systemSetting(scope: Scope, mounts: SystemMounts): Promise<Setting> {
  const work = await temporaryDirectory(scope, "mounts");
  const [one, other] = await Promise.all([makeSmallDisk(scope), makeSmallDisk(scope, "other\n")]);
  const folder = async (name: string) => {
    await mkdir(join(work, name), { recursive: true });
    return join(work, name);
  };
  unmountAllAtEnd(scope, work);
  return { mounts, disk: await readDiskSource(one.path), otherDisk: await readDiskSource(other.path), folder };
}

test("a held mount in memory is busy like a real one", async () => {
  const mounts = new MemoryMounts();
  await mounts.mountDisk({ path: "/a", kind: "file", sizeBytes: 4096 }, "/run/a");
  const release = mounts.hold("/run/a");
  await assert.rejects(mounts.unmount("/run/a"), failsWith("busy"));
  release();
  assert.equal(await mounts.unmount("/run/a"), true);
});

describe("real mounts", { skip: needsRoot }, () => {
  test("the loop device of a file goes with its last mount", async () => {
    await using scope = new AsyncDisposableStack();
    const { mounts, target, source } = await mountedDisk(scope);
    const file = await open(source.path);
    scope.defer(() => file.close());
    const stats = await file.stat({ bigint: true });
    const loop = await findLoopDevice(stats, source.sizeBytes);
    assert.equal((await mounts.table()).at(target)?.source, loop?.path);
    await loop?.close();
    const name = loop?.path ?? "";
    assert.equal(await isDeviceInUse(name), true);
    await mounts.unmount(target);
    assert.equal(await isDeviceInUse(name), false);
    assert.notDeepEqual(await loopBackingFile(name), { dev: stats.dev, ino: stats.ino });
  });

  test("a block device is mounted as it is", async () => {
    await using scope = new AsyncDisposableStack();
    const work = await temporaryDirectory(scope, "mounts");
    unmountAllAtEnd(scope, work);
    const { path } = await makeSmallDisk(scope, "on a device\n");
    const source = await readDiskSource(await attachLoopDevice(scope, path));
    assert.equal(source.kind, "block-device");
    const mounts = new SystemMounts();
    const { device } = await mounts.mountDisk(source, work);
    assert.deepEqual(device, source.device);
    const { layers } = JSON.parse(await readFile(join(work, "nodewarm.json"), "utf8")).images[0];
    assert.equal(await readFile(join(work, layers[0].tree, "etc/name"), "utf8"), "on a device\n");
    assert.equal(await mounts.unmount(work), true);
  });

  test("what holds a mount is named, and a detached one is out of sight at once", async () => {
    await using scope = new AsyncDisposableStack();
    const { mounts, target, device, loopPath } = await mountedDisk(scope);
    const file = await open(join(target, "nodewarm.json"));
    await assert.rejects(mounts.unmount(target), failsWith("busy", new RegExp(`process ${process.pid} \\(`)));
    await assert.rejects(mounts.unmount(target), failsWith("busy", /in use by/));
    assert.equal(await mounts.unmount(target, { detach: true }), true);
    assert.deepEqual((await mounts.table()).ofDevice(device), []);
    assert.equal(await isDeviceInUse(loopPath), true);
    await file.close();
    assert.equal(await isDeviceInUse(loopPath), false);
  });

  test("a mount below is named as what holds the one above", async () => {
    await using scope = new AsyncDisposableStack();
    const { mounts, target, source } = await mountedDisk(scope);
    const below = join(target, "layers");
    await mounts.bind(target, below);
    await assert.rejects(mounts.unmount(target), failsWith("busy", new RegExp(`the mount ${below}`)));
    await mounts.unmount(below);
    await mounts.unmount(target);
    assert.equal((await mounts.mountDisk(source, target)).isNew, true);
  });

  test("a damaged disk is refused and leaves neither mount nor loop device", async () => {
    await using scope = new AsyncDisposableStack();
    const work = await temporaryDirectory(scope, "mounts");
    const path = join(work, "disk");
    await writeFile(path, Buffer.alloc(1 << 20));
    await mkdir(join(work, "target"));
    const mounts = new SystemMounts();
    const source = { path, kind: "file", sizeBytes: 1 << 20 } as const;
    await assert.rejects(mounts.mountDisk(source, join(work, "target")), failsWith("refused", /nodewarm verify/));
    assert.equal((await mounts.table()).at(join(work, "target")), undefined);
    const file = await open(path);
    scope.defer(() => file.close());
    assert.equal(await findLoopDevice(await file.stat({ bigint: true }), 1 << 20), undefined);
  });

  test("a missing disk and a missing mount point are said to be missing", async () => {
    await using scope = new AsyncDisposableStack();
    const work = await temporaryDirectory(scope, "mounts");
    const mounts = new SystemMounts();
    const missing = { path: join(work, "none"), kind: "file", sizeBytes: 4096 } as const;
    await assert.rejects(mounts.mountDisk(missing, work), failsWith("not-found"));
    const { path } = await makeSmallDisk(scope);
    await assert.rejects(mounts.mountDisk(await readDiskSource(path), join(work, "no")), failsWith("not-found"));
    await assert.rejects(mounts.mountDisk(await readDiskSource(path), join(work, "no/no")), failsWith("not-found"));
    await assert.rejects(mounts.bind(join(work, "none"), work), failsWith("not-found"));
  });
});

async function mountedDisk(scope: Scope) {
  const work = await temporaryDirectory(scope, "mounts");
  unmountAllAtEnd(scope, work);
  const target = join(work, "disk");
  await mkdir(target);
  const { path } = await makeSmallDisk(scope);
  const source = await readDiskSource(path);
  const mounts = new SystemMounts();
  const { device } = await mounts.mountDisk(source, target);
  return { mounts, target, source, device, loopPath: `/dev/loop${device.minor}` };
}

/** Also after a test that failed half-way. */
function unmountAllAtEnd(scope: Scope, work: string): void {
  scope.defer(async () => {
    const mounts = new SystemMounts();
    const table = await mounts.table();
    for (const { mountPoint } of [...table.below(work)].reverse()) await mounts.unmount(mountPoint, { detach: true });
    await mounts.unmount(work, { detach: true });
  });
}
