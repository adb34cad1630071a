import assert from "node:assert/strict";
import { copyFile, readdir, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  holdsDisk,
  inject,
  injectedDisk,
  makeDisk,
  mounts,
  quick,
  snapshotsFolder,
  unmountAll,
} from "../../../test/support/injected-folder.ts";
import { recordDevice, recorderReason } from "../../../test/support/power-cut/recorded-device.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { startDiskWait } from "../host/disk-search.ts";
import { HostError } from "../host/host-error.ts";

const noRecorder = await recorderReason();

describe("mount --all, when devices fail or it is stopped", { skip: needs("losetup") }, () => {
  test("a disk whose device failed is mounted anew when it is back, and who uses the old mount keeps it", {
    skip: noRecorder,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const disk = await makeDisk(scope);
    const folder = await snapshotsFolder(scope);
    const device = await recordDevice(scope, disk.path, await temporaryDirectory(scope, "device"));
    const fs = await inject(folder, 1, disk, { source: device.path });
    assert.equal((await quick(folder)).disks[0]?.result, "mounted");
    const inUse = await temporaryDirectory(scope, "container");
    await mounts.bind(fs, inUse);
    scope.defer(async () => void (await mounts.unmount(inUse, { detach: true })));
    const old = (await mounts.table()).at(fs);
    await device.breakDown();

    const [away] = (await quick(folder)).disks;
    assert.equal(away?.result, "missing");
    assert.equal(away.conditions[0]?.type, "DiskMissing");
    assert.deepEqual(away.carriers, []);

    // The file beneath the mount of the device that is gone.
    await run("umount", ["-l", device.path]);
    scope.defer(() => writeFile(device.path, ""));
    await copyFile(disk.path, device.path);
    await run("mount", ["--bind", device.path, device.path]);
    const { disks } = await quick(folder);
    assert.deepEqual(disks, [{ id: disk.id, path: device.path, result: "mounted", carriers: [fs], conditions: [] }]);
    assert.ok(await holdsDisk(fs, disk));
    const table = await mounts.table();
    assert.notDeepEqual(table.at(fs)?.device, old?.device);
    assert.deepEqual(table.at(fs)?.device, table.at(diskMountPoint(disk.id))?.device);
    assert.deepEqual(table.at(inUse)?.device, old?.device);
    assert.equal((await quick(folder)).disks[0]?.result, "present");
    await unmountAll(disk, fs);
  });

  test("a file that was replaced is mounted in place of the old one, and one that was only removed goes on", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    await quick(folder);
    await copyFile(disk.path, `${disk.path}.new`);
    await rm(disk.path);
    assert.deepEqual(await quick(folder), {
      disks: [{ id: disk.id, path: undefined, result: "present", carriers: [fs], conditions: [] }],
      conditions: [],
    });
    await rename(`${disk.path}.new`, disk.path);
    const { disks } = await quick(folder);
    assert.deepEqual(disks, [{ id: disk.id, path: disk.path, result: "mounted", carriers: [fs], conditions: [] }]);
    assert.equal((await quick(folder)).disks[0]?.result, "present");
    await unmountAll(disk, fs);
  });

  test("a file that was written over is no longer the disk", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    await quick(folder);
    await copyFile(disk.path, `${disk.path}.new`);
    await truncate(disk.path, 0);
    assert.equal((await quick(folder)).disks[0]?.result, "missing");
    await rename(`${disk.path}.new`, disk.path);
    assert.equal((await quick(folder)).disks[0]?.result, "mounted");
    assert.ok(await holdsDisk(fs, disk));
    await unmountAll(disk, fs);
  });

  test("stopped in the middle, each disk is mounted everywhere or nowhere, and nothing goes on", async () => {
    await using scope = new AsyncDisposableStack();
    const [there, missing] = [await makeDisk(scope), await makeDisk(scope)];
    const folder = await snapshotsFolder(scope);
    const carriers = [await inject(folder, 1, there), await inject(folder, 3, there), await inject(folder, 5, there)];
    await inject(folder, 7, missing, { source: "/nonexistent/disk" });
    for (const when of ["waiting", "mounted"]) {
      const controller = new AbortController();
      const options = {
        wait: startDiskWait(600_000),
        signal: controller.signal,
        onEvent: ({ type }: { readonly type: string }) => {
          if (type === when) controller.abort(new Error("stopped"));
        },
      };
      await assert.rejects(quick(folder, options), /stopped/);
      const table = await mounts.table();
      const isMounted = table.at(diskMountPoint(there.id)) !== undefined;
      assert.equal(isMounted || when === "waiting", true);
      for (const fs of carriers) assert.equal(table.at(fs) !== undefined, isMounted, `${when}: ${fs}`);
      const points = await readdir(dirname(diskMountPoint(there.id)));
      assert.equal(points.includes(missing.id), false);
      assert.equal(points.includes(there.id), isMounted);
      const before = table.below(folder).length;
      await sleep(100);
      assert.equal((await mounts.table()).below(folder).length, before);
    }
    await unmountAll(there, ...carriers);
  });

  test("a disk that the kernel refuses leaves no mount point", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder } = await injectedDisk(scope);
    const refusing = {
      table: () => mounts.table(),
      bind: (source: string, target: string) => mounts.bind(source, target),
      unmount: (target: string) => mounts.unmount(target),
      mountDisk: () => Promise.reject(new HostError("refused", "no")),
    };
    const { disks } = await quick(folder, { mounts: refusing });
    assert.equal(disks[0]?.conditions[0]?.type, "MountFailed");
    await assert.rejects(stat(diskMountPoint(disk.id)), { code: "ENOENT" });
  });
});
