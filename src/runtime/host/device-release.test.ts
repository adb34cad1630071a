import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { attachLoopDevice } from "../../../test/support/mount.ts";
import { needs } from "../../../test/support/privileges.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { decodeDeviceNumber } from "./device-number.ts";
import { diskDevice, readRelease } from "./device-release.ts";
import { readDiskSource } from "./disk-source.ts";
import { SystemMounts } from "./system-mounts.ts";

const question = { known: async () => [], lock: async () => new AsyncDisposableStack() };

describe("whether a disk whose mounts are gone is released", { skip: needs("losetup") }, () => {
  test("is looked up by its id where its device is not known, and its file is gone", async () => {
    await using scope = new AsyncDisposableStack();
    const target = join(await temporaryDirectory(scope, "release"), "disk");
    await mkdir(target);
    const mounts = new SystemMounts();
    const source = await readDiskSource((await makeSmallDisk(scope, randomUUID())).path);
    const { device } = await mounts.mountDisk(source, target);
    scope.defer(async () => void (await mounts.unmount(target, { detach: true })));
    const { id } = source;
    const used = await open(join(target, "nodewarm.json"));
    scope.defer(() => used.close());
    const number = await diskDevice(device);
    await mounts.unmount(target, { detach: true });
    await rm(source.path);

    const user = { kind: "process", name: "somebody" } as const;
    for (const known of [undefined, number]) {
      const { isReleased, heldBy } = await readRelease({ id, device: known, users: [] }, question);
      assert.equal(isReleased, false);
      assert.ok(heldBy.some(({ kind, name }) => kind === "process" && name.startsWith(`${process.pid} (`)));
      const told = await readRelease({ id, device: known, users: [] }, { ...question, known: async () => [user] });
      assert.equal(told.isReleased, false);
      assert.ok(told.heldBy.some(({ name }) => name === user.name));
    }
    await used.close();
    // The kernel lets go of the device in its own time.
    await waitUntil(
      "it is released",
      async () => (await readRelease({ id, device: undefined, users: [] }, question)).isReleased,
    );
    assert.equal((await readRelease({ id, device: undefined, users: [user] }, question)).isReleased, false);
  });

  test("is not asked of the device while somebody mounts it", async () => {
    await using scope = new AsyncDisposableStack();
    const { path } = await makeSmallDisk(scope, randomUUID());
    const number = decodeDeviceNumber((await stat(await attachLoopDevice(scope, path))).rdev);
    const disk = { id: (await readDiskSource(path)).id, device: await diskDevice(number), users: [] };
    const calls: string[] = [];
    const lock = async () => {
      calls.push("lock");
      return { [Symbol.asyncDispose]: async () => void calls.push("unlock") };
    };
    assert.equal((await readRelease(disk, { ...question, lock })).isReleased, true);
    assert.deepEqual(calls, ["lock", "unlock"]);
  });
});
