import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { devicesBelow } from "./disk-devices.ts";

const skip = needs("losetup", "mkfs.ext4");

test("a file stands on the device of its file system, and is shown by loop devices", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const [image, mountPoint] = [join(folder, "image"), join(folder, "mnt")];
  await writeFile(image, Buffer.alloc(8 << 20));
  await run("mkfs.ext4", ["-q", "-F", image]);
  const device = (await run("losetup", ["--find", "--show", image])).trim();
  scope.defer(async () => void (await run("losetup", ["--detach", device])));
  await mkdir(mountPoint);
  await run("mount", [device, mountPoint]);
  scope.defer(async () => void (await run("umount", [mountPoint])));
  const file = join(mountPoint, "disk.erofs");
  await writeFile(file, Buffer.alloc(1 << 20));
  const shown = await attachLoopDevice(scope, file);
  assert.deepEqual([...(await devicesBelow(file))].sort(), [basename(device), basename(shown)].sort());
  assert.deepEqual([...(await devicesBelow(shown))], [basename(shown)]);
  await symlink(mountPoint, join(folder, "link"));
  assert.deepEqual(await devicesBelow(join(folder, "link", "disk.erofs")), await devicesBelow(file), "through a link");
});

test("a file of a file system without a device stands on none", async () => {
  assert.deepEqual([...(await devicesBelow("/proc/self/status"))], []);
});
