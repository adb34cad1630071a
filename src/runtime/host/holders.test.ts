import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { startInMountNamespace } from "../../../test/support/mount-namespace.ts";
import { needs } from "../../../test/support/privileges.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "./disk-source.ts";
import { containerIdOf, findDeviceHolders } from "./holders.ts";
import { isDeviceInUse } from "./loop-device.ts";
import { SystemMounts } from "./system-mounts.ts";

describe("holders of a device", { skip: needs("unshare") }, () => {
  test("a private mount namespace is named until its process ends, once for all its processes", async () => {
    await using scope = new AsyncDisposableStack();
    const target = join(await temporaryDirectory(scope, "holders"), "disk");
    await mkdir(target);
    const mounts = new SystemMounts();
    const { device } = await mounts.mountDisk(await readDiskSource((await makeSmallDisk(scope)).path), target);
    scope.defer(() => mounts.unmount(target, { detach: true }).then(() => {}));
    await using inner = new AsyncDisposableStack();
    const pid = await startInMountNamespace(inner);

    const both = await findDeviceHolders(device);
    assert.deepEqual(
      both.map(({ isOwn, mountPoints }) => ({ isOwn, mountPoints })),
      [
        { isOwn: true, mountPoints: [target] },
        { isOwn: false, mountPoints: [target] },
      ],
    );
    await mounts.unmount(target);
    assert.deepEqual(await findDeviceHolders(device), [
      { pid, name: "sleep", containerId: undefined, isOwn: false, mountPoints: [target] },
    ]);
    assert.equal(await isDeviceInUse(`/dev/loop${device.minor}`), true);
    await inner.disposeAsync();
    assert.deepEqual(await findDeviceHolders(device), []);
    // The kernel takes the mounts of an ended namespace apart in its own time (fs/namespace.c: delayed_mntput_work).
    await waitUntil("the device is let go", async () => !(await isDeviceInUse(`/dev/loop${device.minor}`)));
  });
});

test("control groups tell the container, however the runtime names them", () => {
  const id = "0123456789abcdef".repeat(4);
  for (const path of [
    `/kubepods/burstable/pod1f/${id}`,
    `/kubepods.slice/kubepods-pod1f.slice/cri-containerd-${id}.scope`,
    `/system.slice/docker-${id}.scope/init.scope`,
    `/docker/${id}`,
    `/kubepods.slice/crio-${id}.scope`,
    `/system.slice/containerd.service/kubepods-pod1f.slice:cri-containerd:${id}`,
  ]) {
    assert.equal(containerIdOf(`12:cpu:/\n0::${path}\n`), id, path);
  }
  for (const path of ["/", "/system.slice/containerd.service", `/x/${id}0`, `/x/${id.slice(1)}`, "/default/redis"]) {
    assert.equal(containerIdOf(`0::${path}\n`), undefined, path);
  }
  assert.equal(containerIdOf(""), undefined);
});
