import assert from "node:assert/strict";
import { copyFile, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
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
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { diskMountPoint } from "../host/disk-mount-point.ts";
import { startDiskWait } from "../host/disk-search.ts";
import { mountAll } from "./mount-all.ts";
import { carrierFileName } from "./ownership.ts";

describe("mount --all", { skip: needs("losetup") }, () => {
  test("mounts what was injected, once, and again after everything was unmounted", async () => {
    await using scope = new AsyncDisposableStack();
    const [one, two] = [await makeDisk(scope), await makeDisk(scope)];
    const folder = await snapshotsFolder(scope);
    const [first, second] = [await inject(folder, 1, one), await inject(folder, 3, two)];
    const report = await quick(folder);
    assert.deepEqual(report, {
      disks: [
        { id: one.id, path: one.path, result: "mounted", carriers: [first], conditions: [] },
        { id: two.id, path: two.path, result: "mounted", carriers: [second], conditions: [] },
      ],
      conditions: [],
    });
    assert.ok((await holdsDisk(first, one)) && (await holdsDisk(second, two)));
    const table = await mounts.table();
    for (const place of [first, diskMountPoint(one.id)]) {
      const options = table.at(place)?.options ?? [];
      assert.ok(options.includes("ro") && options.includes("nodev"), place);
    }

    const ofDisks = ({ entries }: typeof table) => {
      const places = [first, second, diskMountPoint(one.id), diskMountPoint(two.id)];
      return entries.filter(({ mountPoint }) => places.includes(mountPoint)).map(({ id }) => id);
    };
    const before = ofDisks(table);
    assert.equal(before.length, 4);
    const again = await quick(folder);
    assert.deepEqual(
      again.disks.map(({ id, result, carriers, conditions }) => ({ id, result, carriers, conditions })),
      [
        { id: one.id, result: "present", carriers: [first], conditions: [] },
        { id: two.id, result: "present", carriers: [second], conditions: [] },
      ],
    );
    assert.deepEqual(ofDisks(await mounts.table()), before);

    await unmountAll(one, first);
    assert.deepEqual(
      (await quick(folder)).disks.map(({ id, result }) => [id, result]).sort(),
      [
        [one.id, "mounted"],
        [two.id, "present"],
      ].sort(),
    );
    assert.ok(await holdsDisk(first, one));
    await unmountAll(one, first);
    await unmountAll(two, second);
  });

  test("only root passes the folder of the mount points, since disks hold setuid programs", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    await quick(folder);
    const { mode } = await stat(dirname(diskMountPoint(disk.id)));
    assert.equal(mode & 0o777, 0o700);
    await unmountAll(disk, fs);
  });

  test("one disk in two folders is mounted once and shown on both carriers", async () => {
    await using scope = new AsyncDisposableStack();
    const disk = await makeDisk(scope);
    const folders = [await snapshotsFolder(scope), await snapshotsFolder(scope)] as const;
    const carriers = [await inject(folders[0], 1, disk), await inject(folders[1], 5, disk)];
    // The same folder by another name counts once.
    const alias = join(await temporaryDirectory(scope, "alias"), "link");
    await symlink(folders[0], alias);
    const { disks } = await mountAll({ snapshotsFolders: [...folders, alias, "/nonexistent"], wait: startDiskWait(0) });
    assert.deepEqual(disks, [{ id: disk.id, path: disk.path, result: "mounted", carriers, conditions: [] }]);
    const [entry] = [(await mounts.table()).at(diskMountPoint(disk.id))];
    assert.equal(entry && (await mounts.table()).ofDevice(entry.device).length, 3);
    await unmountAll(disk, ...carriers);
  });

  test("a missing disk, another disk under the path and a damaged one are conditions and stop nothing else", async () => {
    await using scope = new AsyncDisposableStack();
    const [good, missing, replaced, damaged] = await Promise.all([1, 2, 3, 4].map(() => makeDisk(scope)));
    assert.ok(good && missing && replaced && damaged);
    const folder = await snapshotsFolder(scope);
    const disks = [good, missing, replaced, damaged];
    const carriers: string[] = [];
    for (const [index, disk] of disks.entries()) carriers.push(await inject(folder, index * 2 + 1, disk));
    await writeFile(join(folder, "3/fs", carrierFileName), "{");
    await inject(folder, 21, missing);
    await rm(missing.path);
    await copyFile(good.path, replaced.path);
    const bytes = await readFile(damaged.path);
    const index = bytes.indexOf('"formatVersion"');
    await writeFile(damaged.path, bytes.fill(0, index, index + 8));
    await writeFile(join(folder, "garbage"), "");

    const report = await quick(folder);
    const results = new Map(report.disks.map((disk) => [disk.id, disk]));
    assert.equal(results.get(good.id)?.result, "mounted");
    for (const [disk, words] of [
      [missing, /there is no .*disk\.erofs/],
      [replaced, /holds another file system/],
      [damaged, /not JSON|cannot|index/],
    ] as const) {
      const result = results.get(disk.id);
      assert.equal(result?.result, "missing");
      assert.equal(result.conditions[0]?.type, "DiskMissing");
      assert.match(result.conditions[0].message, words);
    }
    assert.deepEqual(
      report.conditions.map(({ type }) => type),
      ["CarrierUnreadable"],
    );
    await unmountAll(good, carriers[0] ?? "");
    assert.deepEqual((await mounts.table()).below(folder), []);
  });

  test("a device is found under another name, when the old one is gone or another's", async () => {
    await using scope = new AsyncDisposableStack();
    const [disk, other] = [await makeDisk(scope), await makeDisk(scope)];
    const [device, othersDevice] = [
      await attachLoopDevice(scope, disk.path),
      await attachLoopDevice(scope, other.path),
    ];
    for (const source of ["/dev/disk/by-id/virtio-gone", othersDevice]) {
      const folder = await snapshotsFolder(scope);
      const fs = await inject(folder, 1, disk, { source });
      const { disks } = await quick(folder);
      assert.equal(disks[0]?.result, "mounted");
      assert.equal(disks[0].path, device);
      assert.equal(disks[0].conditions[0]?.type, "DiskMoved");
      assert.match(disks[0].conditions[0].message, new RegExp(`injected from ${source} and is ${device} now`));
      assert.ok(await holdsDisk(fs, disk));
      await unmountAll(disk, fs);
    }
  });

  test("a device that only has the id is not taken for the one whose serial number is known", async () => {
    await using scope = new AsyncDisposableStack();
    const disk = await makeDisk(scope);
    const device = await attachLoopDevice(scope, disk.path);
    const folder = await snapshotsFolder(scope);
    await inject(folder, 1, disk, { source: device, identity: "serial:the-real-one" });
    const { disks } = await quick(folder);
    assert.equal(disks[0]?.result, "missing");
    assert.match(disks[0].conditions[0]?.message ?? "", /has the disk's id, but is another device/);
    assert.equal((await mounts.table()).at(diskMountPoint(disk.id)), undefined);
  });

  test("a file is not looked for among the devices", async () => {
    await using scope = new AsyncDisposableStack();
    const disk = await makeDisk(scope);
    await attachLoopDevice(scope, disk.path);
    const folder = await snapshotsFolder(scope);
    await inject(folder, 1, disk, { source: "/nonexistent/disk.erofs" });
    assert.equal((await quick(folder)).disks[0]?.result, "missing");
  });

  test("waits for a disk that comes late, and says so", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    await rename(disk.path, `${disk.path}.away`);
    const events: string[] = [];
    let isBack: Promise<void> | undefined;
    const { disks } = await quick(folder, {
      wait: startDiskWait(30_000),
      onEvent: ({ type }) => {
        events.push(type);
        if (type === "waiting") isBack = rename(`${disk.path}.away`, disk.path);
      },
    });
    await isBack;
    assert.equal(disks[0]?.result, "mounted");
    assert.deepEqual(events, ["waiting", "mounted"]);
    await unmountAll(disk, fs);
  });

  test("waits no longer than it may, once for all", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await snapshotsFolder(scope);
    const disks = [await makeDisk(scope), await makeDisk(scope)];
    for (const [index, disk] of disks.entries()) await inject(folder, index * 2 + 1, disk, { source: "/dev/gone" });
    const start = performance.now();
    const report = await quick(folder, { wait: startDiskWait(300) });
    assert.deepEqual(
      report.disks.map(({ result }) => result),
      ["missing", "missing"],
    );
    assert.ok(performance.now() - start >= 290);
  });

  test("stops waiting when told to", async () => {
    await using scope = new AsyncDisposableStack();
    const { folder } = await injectedDisk(scope, { source: "/nonexistent/disk" });
    const reason = new Error("enough");
    const controller = new AbortController();
    const options = {
      wait: startDiskWait(600_000),
      signal: controller.signal,
      onEvent: () => controller.abort(reason),
    };
    await assert.rejects(quick(folder, options), reason);
    await assert.rejects(quick(folder, options), reason);
  });

  test("what else is mounted on a carrier stays, and a carrier that says nothing is named", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    await run("mount", ["-t", "tmpfs", "tmpfs", fs]);
    const gone = await inject(folder, 3, disk);
    await rm(join(gone, carrierFileName));
    const report = await quick(folder);
    assert.deepEqual(report.disks, []);
    assert.deepEqual(
      report.conditions.map(({ type }) => type),
      ["CarrierGone"],
    );
    assert.match(report.conditions[0]?.message ?? "", /3\/fs/);
    assert.deepEqual(await readdir(fs), []);
  });

  test("two at once mount everything once", async () => {
    await using scope = new AsyncDisposableStack();
    const { disk, folder, fs } = await injectedDisk(scope);
    const reports = await Promise.all([1, 2, 3].map(() => quick(folder)));
    for (const report of reports) assert.deepEqual(report.disks[0]?.carriers, [fs]);
    await unmountAll(disk, fs);
    assert.equal((await mounts.table()).at(fs), undefined);
  });
});
