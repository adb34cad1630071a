import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { mountErofs } from "../../../test/support/mount.ts";
import { needsRoot } from "../../../test/support/privileges.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import type { Scope } from "../../../test/support/temporary.ts";
import { lockDisk } from "../../runtime/host/disk-lock.ts";
import { openLoopDevice } from "../../runtime/host/loop-device.ts";
import type { DiskHolders } from "./disk-holders.ts";
import { HostDiskHolders } from "./host-disk-holders.ts";
import { MemoryDiskHolders } from "./memory-disk-holders.ts";

type Setting = { readonly holders: DiskHolders; readonly path: string; hold(scope: Scope): Promise<void> };

const id = "1".repeat(64);

const settings: readonly (readonly [name: string, skip: string | false, make: (scope: Scope) => Promise<Setting>])[] = [
  ["HostDiskHolders", needsRoot, makeHostSetting],
  ["MemoryDiskHolders", false, makeMemorySetting],
];

for (const [name, skip, make] of settings) {
  describe(`${name} keeps the contract of disk holders`, { skip }, () => {
    test("nobody holds a disk that is not mounted, and whoever mounts it is named until that ends", async () => {
      await using scope = new AsyncDisposableStack();
      const { holders, path, hold } = await make(scope);
      assert.deepEqual(await holders.find(path, id), []);
      {
        await using held = new AsyncDisposableStack();
        await hold(held);
        const [user] = await holders.find(path, id);
        assert.equal(user?.kind, "process");
        assert.match(user.name, /mounted on|\d+ \(/);
      }
      assert.deepEqual(await holders.find(path, id), []);
    });
  });
}

test("who mounts a disk meanwhile is not disturbed", { skip: needsRoot }, async () => {
  await using scope = new AsyncDisposableStack();
  const { path } = await makeSmallDisk(scope);
  let isFound = false;
  let finding: Promise<unknown>;
  {
    await using _ = await lockDisk((local) => local, id, new AbortController().signal);
    finding = new HostDiskHolders().find(path, id).then(() => {
      isFound = true;
    });
    await Promise.race([finding, sleep(100)]);
    assert.equal(isFound, false);
  }
  await finding;
});

async function makeHostSetting(scope: Scope): Promise<Setting> {
  const { path, sizeBytes } = await makeSmallDisk(scope);
  const hold = async (held: Scope) => {
    const loop = await openLoopDevice(path, sizeBytes);
    await mountErofs(held, loop.path);
    await loop.close();
  };
  return { holders: new HostDiskHolders(), path, hold };
}

async function makeMemorySetting(): Promise<Setting> {
  const holders = new MemoryDiskHolders();
  const hold = async (held: Scope) => {
    holders.users.set("/disk", [{ kind: "process", name: "1 (test)" }]);
    held.defer(async () => void holders.users.clear());
  };
  return { holders, path: "/disk", hold };
}
