import assert from "node:assert/strict";
import { open, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { failedDevice, KernelErrors } from "./kernel-errors.ts";

test("says which device a record of the kernel's log complains of", () => {
  const records: readonly (readonly [record: string, device: string | undefined])[] = [
    ["3,101,5,-;I/O error, dev loop0, sector 80 op 0x0:(READ) flags 0x800 phys_seg 1 prio class 2\n", "loop0"],
    ["3,101,5,-;blk_update_request: critical medium error, dev nvme0n1, sector 8 op 0x0:(READ)\n", "nvme0n1"],
    ["3,102,6,-;Buffer I/O error on dev vda1, logical block 20, async page read\n SUBSYSTEM=block\n", "vda1"],
    ["2,103,7,-;EXT4-fs error (device sdb): ext4_find_entry:1455: inode #2: comm ls: reading directory\n", "sdb"],
    ["2,104,8,-;EXT4-fs (sdb): Remounting filesystem read-only\n", "sdb"],
    ['1,105,9,-;XFS (dm-3): metadata I/O error in "xfs_read_agi" at daddr 0x2\n', "dm-3"],
    ["3,106,10,-;erofs (device loop7): z_erofs_read_folio: read error -5 @ 3 of nid 36\n", "loop7"],
    ["6,107,11,-;EXT4-fs (sdb): mounted filesystem with ordered data mode\n", undefined],
    ["6,108,12,-;erofs (device loop7): mounted with root inode @ nid 36.\n", undefined],
    ["11,109,13,-;I/O error, dev loop0, sector 80 (as a program writes it)\n", undefined],
    ["3,110,14,-;something else\n I/O error, dev loop0, sector 80\n", undefined],
    ["", undefined],
  ];
  for (const [record, device] of records) assert.equal(failedDevice(record), device, record);
});

test("notices that a device fails, and nothing from before", { skip: needs("losetup", "dd") }, async () => {
  await using scope = new AsyncDisposableStack();
  const file = join(await temporaryDirectory(scope), "device");
  await writeFile(file, Buffer.alloc(1 << 20));
  const device = await attachLoopDevice(scope, file);
  const name = device.slice("/dev/".length);
  const read = () =>
    run("dd", [`if=${device}`, "of=/dev/null", "bs=4096", "count=1", "skip=100", "iflag=direct"]).then(
      () => true,
      () => false,
    );
  assert.equal(await read(), true);
  const errors = new KernelErrors();
  scope.defer(async () => errors.close());
  errors.read();
  await truncate(file, 4096);
  assert.equal(await read(), false);
  await waitUntil("the kernel tells of it", async () => errors.read().has(name));
  const late = new KernelErrors();
  scope.defer(async () => late.close());
  assert.equal(late.read().has(name), false);
});

test("says nothing where the log cannot be read", () => {
  const errors = new KernelErrors("/does/not/exist");
  assert.equal(errors.read().size, 0);
  errors.close();
  errors.close();
  assert.equal(errors.read().size, 0);
});

test("says nothing of before where the log has no end to begin at", { skip: needs("mkfifo") }, async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "log");
  await run("mkfifo", [path]);
  // Both ends, so that neither waits for the other.
  await using log = await open(path, "r+");
  await log.write("3,101,5,-;I/O error, dev loop0, sector 80 op 0x0:(READ)\n");
  const errors = new KernelErrors(path);
  scope.defer(async () => errors.close());
  assert.equal(errors.read().size, 0);
});
