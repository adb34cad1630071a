import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { startInMountNamespace } from "../../../test/support/mount-namespace.ts";
import { needs, needsRoot } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readDiskSource } from "./disk-source.ts";
import { HostError } from "./host-error.ts";
import { tryIdMappedMount } from "./id-mapped-mount.ts";
import { readKernel } from "./kernel.ts";
import { openMountNamespace, ownMountNamespace } from "./mount-namespace.ts";
import { SystemMounts } from "./system-mounts.ts";
import { openUserNamespace } from "./user-namespace.ts";

describe("the trial of user namespaces", { skip: needsRoot }, () => {
  test("a mounted disk may be cloned with other ids from Linux 5.19 on", async (context) => {
    await using scope = new AsyncDisposableStack();
    const { version } = await readKernel();
    if (version.major < 6) return context.skip(`needs Linux 6, this is ${version.major}.${version.minor}`);
    const folder = await temporaryDirectory(scope, "idmap");
    await mountBelow(scope, folder);
    const [mounted] = (await ownMountNamespace.table()).below(folder);
    assert.ok(mounted !== undefined);
    assert.deepEqual(await tryIdMappedMount(folder), { isSupported: true });
    assert.deepEqual((await ownMountNamespace.table()).ofDevice(mounted.device), [mounted]);
  });

  test("a file system below that does not allow it is found out", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "idmap");
    const below = join(folder, "proc");
    await mkdir(below);
    await ownMountNamespace.call("mount", "proc", below, "proc", 0, null);
    scope.defer(() => ownMountNamespace.call("umount2", below, 0).then(() => {}));
    const trial = await tryIdMappedMount(folder);
    assert.ok(!trial.isSupported);
    assert.equal(trial.code, "EINVAL");
    assert.match(trial.reason, /does not allow ID-mapped mounts/);
  });

  test("a missing folder is said to be missing", async () => {
    const trial = await tryIdMappedMount("/no/such/folder");
    assert.equal(trial.isSupported ? "" : trial.code, "ENOENT");
  });

  test("it works in another mount namespace too", { skip: needs("unshare") }, async (context) => {
    await using scope = new AsyncDisposableStack();
    if ((await readKernel()).version.major < 6) return context.skip("needs Linux 6");
    const folder = await temporaryDirectory(scope, "idmap");
    const namespace = await openMountNamespace(await startInMountNamespace(scope));
    scope.defer(() => namespace.close());
    await mountBelow(scope, folder, new SystemMounts(namespace));
    assert.deepEqual(await tryIdMappedMount(folder, namespace), { isSupported: true });
  });

  test("a user namespace is made without leaving a process or a descriptor", () => {
    const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
    const before = { children: children(), descriptors: readdirSync("/proc/self/fd").length };
    const namespace = openUserNamespace(100_000, 65_536);
    assert.notEqual(readlinkSync(`/proc/self/fd/${namespace}`), readlinkSync("/proc/self/ns/user"));
    closeSync(namespace);
    assert.deepEqual({ children: children(), descriptors: readdirSync("/proc/self/fd").length }, before);
  });

  test("ids that cannot be mapped are refused, and nothing is left", () => {
    const before = readdirSync("/proc/self/fd").length;
    assert.throws(
      () => openUserNamespace(100_000, 0),
      (error: unknown) => error instanceof HostError && error.code === "not-supported",
    );
    assert.equal(readdirSync("/proc/self/fd").length, before);
  });

  test("signals arrive as before once a user namespace was made", async () => {
    closeSync(openUserNamespace(100_000, 65_536));
    const arrived = once(process, "SIGHUP");
    process.kill(process.pid, "SIGHUP");
    await arrived;
  });
});

async function mountBelow(scope: Scope, folder: string, mounts = new SystemMounts()): Promise<void> {
  const target = join(folder, "disk");
  await mkdir(target);
  await mounts.mountDisk(await readDiskSource((await makeSmallDisk(scope)).path), target);
  scope.defer(() => mounts.unmount(target).then(() => {}));
}
