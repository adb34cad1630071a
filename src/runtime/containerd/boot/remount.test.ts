import assert from "node:assert/strict";
import { copyFile, rename, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { containerdRuntimes } from "../../../../test/support/runtimes/fleet.ts";
import {
  appName,
  injectPath,
  makeInjectionDisk,
  makeInjectionImages,
  openTestNode,
  toolName,
} from "../../../../test/support/runtimes/injection.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { startDiskWait } from "../../host/disk-search.ts";
import { SystemMounts } from "../../host/system-mounts.ts";
import { mountAll } from "../mount-all.ts";

/** What a real injection leaves is enough to mount everything again, with no containerd running. */

for (const runtime of await containerdRuntimes()) {
  test(`${runtime.name} runs injected images after a boot, whether mounted before it starts or while it runs`, {
    skip: runtime.reason ?? false,
  }, async () => {
    await using scope = new AsyncDisposableStack();
    const { path, id } = await makeInjectionDisk(scope, await makeInjectionImages(scope));
    const daemon = await runtime.start(scope);
    await injectPath(await openTestNode(scope, daemon), path);
    const snapshotsFolder = join(daemon.root, "io.containerd.snapshotter.v1.overlayfs/snapshots");
    const remount = async () => {
      const { disks, conditions } = await mountAll({ snapshotsFolders: [snapshotsFolder], wait: startDiskWait(0) });
      assert.deepEqual(conditions, []);
      assert.deepEqual(
        disks.map((disk) => [disk.id, disk.path, disk.result, disk.carriers.length, disk.conditions]),
        [[id, path, "mounted", 1, []]],
      );
    };
    const mounts = new SystemMounts();
    const unmountAll = async () => {
      for (const { mountPoint } of (await mounts.table()).below(snapshotsFolder)) await mounts.unmount(mountPoint);
      await mounts.unmount(diskMountPoint(id));
    };

    await daemon.kill();
    await unmountAll();
    await remount();
    await daemon.start();
    assert.equal(await daemon.run({ image: appName, namespace: "k8s.io" }), "variant 1\n");

    await unmountAll();
    await assert.rejects(daemon.run({ image: toolName, namespace: "k8s.io" }), "it fails loudly without its disk");
    await remount();
    assert.equal(await daemon.run({ image: toolName, namespace: "k8s.io" }), "tool 1\n");

    // The disk is lost and comes back as another file: injecting it again puts that in place of what is mounted.
    await copyFile(path, `${path}.new`);
    await truncate(path, 0);
    await rename(`${path}.new`, path);
    await injectPath(await openTestNode(scope, daemon), path);
    assert.equal(await daemon.run({ image: appName, namespace: "k8s.io" }), "variant 1\n");
  });
}
