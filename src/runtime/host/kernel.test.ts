import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileSystemAvailability, isAtLeast, parseKernelVersion, readKernel } from "./kernel.ts";
import { imageLayerContext } from "./selinux.ts";

test("the running kernel is described", async () => {
  const kernel = await readKernel();
  assert.equal(`${kernel.release}\n`, await readFile("/proc/sys/kernel/osrelease", "utf8"));
  assert.ok(isAtLeast(kernel.version, 4, 0));
  const known = await readFile("/proc/filesystems", "utf8");
  if (/\terofs$/m.test(known)) assert.equal(kernel.erofs, "built-in");
  if (/\toverlay$/m.test(known)) assert.equal(kernel.overlayfs, "built-in");
  if (!kernel.isSelinuxEnabled) assert.equal(await imageLayerContext(), undefined);
});

test("versions are compared by number", () => {
  assert.deepEqual(parseKernelVersion("6.18.44-fc-v595"), { major: 6, minor: 18 });
  assert.deepEqual(parseKernelVersion("5.10.0"), { major: 5, minor: 10 });
  assert.deepEqual(parseKernelVersion("unknown"), { major: 0, minor: 0 });
  assert.equal(isAtLeast({ major: 5, minor: 10 }, 5, 9), true);
  assert.equal(isAtLeast({ major: 6, minor: 1 }, 5, 19), true);
  assert.equal(isAtLeast({ major: 5, minor: 4 }, 5, 12), false);
});

test("a file system is built in, a module, or missing", () => {
  const files = {
    fileSystems: "nodev\tproc\n\text4\n",
    modules:
      "kernel/fs/erofs/erofs.ko.zst: kernel/lib/lz4.ko.zst\nkernel/fs/xfs/xfs.ko: kernel/fs/overlayfs/overlay.ko\n",
    builtIn: "kernel/fs/squashfs/squashfs.ko\n",
  };
  assert.equal(fileSystemAvailability("ext4", "ext4", files), "built-in");
  assert.equal(fileSystemAvailability("squashfs", "squashfs", files), "built-in");
  assert.equal(fileSystemAvailability("erofs", "erofs", files), "module");
  assert.equal(fileSystemAvailability("overlay", "overlay", files), "missing");
  assert.equal(fileSystemAvailability("ext", "ext", files), "missing");
});
