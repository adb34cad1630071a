import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { test } from "node:test";
import { attachHangingDevices, needsHangingDevices } from "../../../test/support/hanging-devices.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { HeldDevice } from "./held-device.ts";

test("a device that is always read is asked again after a while, and held meanwhile", {
  skip: needsHangingDevices,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const disk = await makeSmallDisk(scope);
  const [device] = await attachHangingDevices(scope, [disk.path]);
  assert.ok(device);
  const held = await HeldDevice.open(device.path);
  assert.ok(held);
  await device.hang();
  const reader = spawn("dd", [`if=${device.path}`, "of=/dev/null", "bs=4096", "count=1", "iflag=direct"], {
    stdio: "ignore",
  });
  const ended = once(reader, "exit");
  const isRead = async () => /[1-9]/.test(await readFile(`/sys/block/${basename(device.path)}/inflight`, "utf8"));
  await waitUntil("it is being read", isRead);
  await held.untilAnswered(10);
  assert.ok(await isRead());
  const again = await HeldDevice.open(device.path);
  assert.equal(again, held);
  const done = held.untilAnswered();
  await device.answer();
  await ended;
  await done;
  const next = await HeldDevice.open(device.path);
  assert.notEqual(next, held);
  await next?.[Symbol.asyncDispose]();
});
