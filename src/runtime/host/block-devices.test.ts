import assert from "node:assert/strict";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { blockDeviceIdentity, isDeviceGone, listBlockDevices, readErofsUuid } from "./block-devices.ts";
import { decodeDeviceNumber } from "./device-number.ts";
import { readDiskSource } from "./disk-source.ts";

test("the UUID of a disk is the first half of its id", async () => {
  await using scope = new AsyncDisposableStack();
  const { path } = await makeSmallDisk(scope);
  const { id } = await readDiskSource(path);
  assert.equal(await readErofsUuid(path), id.slice(0, 32));
});

test("what is no EROFS image has no UUID, and what is not there is an error", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "uuid");
  for (const bytes of [0, 1100, 4096]) {
    await writeFile(join(work, "file"), Buffer.alloc(bytes, 0xe2));
    assert.equal(await readErofsUuid(join(work, "file")), undefined);
  }
  await assert.rejects(readErofsUuid(join(work, "none")), { code: "ENOENT" });
  await assert.rejects(readErofsUuid(work), { code: "EISDIR" });
});

test("devices are listed while they have something in them", { skip: needs("losetup") }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path } = await makeSmallDisk(scope);
  let device: string;
  {
    await using attached = new AsyncDisposableStack();
    device = await attachLoopDevice(attached, path);
    const found = (await listBlockDevices()).find((entry) => entry.path === device);
    assert.match(found?.state ?? "", /^[1-9]\d* /);
    assert.equal(await blockDeviceIdentity(device), undefined, "a loop device has no serial number");
  }
  assert.equal(await blockDeviceIdentity(path), undefined);
  assert.equal(await blockDeviceIdentity(join(path, "none")), undefined);
});

test("a device that sysfs does not know is gone, unlike file systems without one", {
  skip: needs("losetup"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { path } = await makeSmallDisk(scope);
  const { rdev } = await stat(await attachLoopDevice(scope, path));
  assert.equal(await isDeviceGone(decodeDeviceNumber(rdev)), false);
  assert.equal(await isDeviceGone({ major: 4000, minor: 1 }), true);
  assert.equal(await isDeviceGone({ major: 0, minor: 4000 }), false);
});
