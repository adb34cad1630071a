import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { findState, findUntil } from "../../../test/support/disk-finding.ts";
import {
  attachHangingDevices,
  type HangingDevice,
  needsHangingDevices,
} from "../../../test/support/hanging-devices.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { makeSmallDisk, type SmallDisk } from "../../../test/support/small-disk.ts";
import type { Scope } from "../../../test/support/temporary.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { MemoryState } from "../state/memory-state.ts";
import { configuredDevices } from "./configured-devices.ts";
import { deviceStamp } from "./disk-stamp.ts";
import { HostDiskFinder, type HostDiskFinderOptions } from "./host-disk-finder.ts";
import { VerificationQueue } from "./verification-queue.ts";

const { signal } = new AbortController();

const openFinder = async (
  scope: Scope,
  devices: readonly HangingDevice[],
  options: Partial<HostDiskFinderOptions> = {},
) => {
  const places = { folders: [], devices: devices.map(({ path }) => path), allow: [id] };
  const finder = await HostDiskFinder.open({ places, state: new MemoryState(), pollMs: 50, ...options });
  scope.defer(() => finder.close());
  return finder;
};

/** Processes that look at devices, without those that have been killed and wait for their device. */
async function childrenThatRun(): Promise<readonly string[]> {
  const all = await readdir("/proc");
  const running = await Promise.all(
    all.filter(Number).map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const isOurs = parent === String(process.pid) && command.includes("look-child");
      return isOurs && !/[DZX]/.test(state) ? [pid] : [];
    }),
  );
  return running.flat();
}

const fixtures = new AsyncDisposableStack();
let disk: SmallDisk;
let id: string;

before(async () => {
  disk = await makeSmallDisk(fixtures);
  id = (await readDiskSource(disk.path)).id;
});
after(() => fixtures.disposeAsync());

test("six devices that hang keep neither files nor a seventh device from being read, and are trusted when they answer", {
  skip: needsHangingDevices,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const devices = await attachHangingDevices(scope, Array(7).fill(disk.path));
  // The last by path too: it is asked when the others hang.
  const [healthy, ...hanging] = devices.toReversed();
  assert.ok(healthy);
  for (const device of hanging) await device.hang();
  const finder = await openFinder(scope, devices, { answerMs: 5000 });
  const first = await finder.find({ signal });
  for (const { path, state, identity, reason } of first) {
    if (path === healthy.path) continue;
    assert.deepEqual([state, identity], ["checking", undefined]);
    assert.match(reason, /has not answered yet/);
  }
  await findState(finder, healthy.path, "trusted");
  for (let i = 0; i < 8; i++) await readFile("/proc/self/stat");
  const hang = await findUntil(finder, (found) => found.every(({ state }) => state !== "checking"));
  for (const { path, state, reason } of hang) {
    assert.equal(state, path === healthy.path ? "trusted" : "broken");
    if (path !== healthy.path) assert.equal(reason, `${path} does not answer`);
  }
  for (let i = 0; i < 8; i++) await readFile("/proc/self/stat");
  // What was given up ends where it can before they answer: nothing but the devices tell then that they do.
  const asking = await childrenThatRun();
  await waitUntil("processes have ended", async () => {
    const running = await childrenThatRun();
    return asking.every((pid) => !running.includes(pid));
  });
  for (const device of hanging) await device.answer();
  await findUntil(finder, (found) => found.every(({ state }) => state === "trusted"), 300_000);
});

test("a device that is slow to say what it is is being checked, not broken, and trusted in the end", {
  skip: needsHangingDevices,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const [device] = await attachHangingDevices(scope, [disk.path]);
  assert.ok(device);
  await device.hang();
  const finder = await openFinder(scope, [device], { lookMs: 100, answerMs: 3_600_000 });
  for (let i = 0; i < 3; i++) assert.equal((await finder.find({ signal }))[0]?.state, "checking");
  await device.answer();
  await findState(finder, device.path, "trusted");
});

test("a device that hangs while it is read in full keeps one thread, however often it is asked for", {
  skip: needsHangingDevices,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const [device] = await attachHangingDevices(scope, [disk.path]);
  assert.ok(device);
  const [configured] = await configuredDevices([device.path]);
  assert.ok(configured);
  const job = {
    path: device.path,
    kind: "device",
    stamp: await deviceStamp(device.path, configured.stats),
    id,
    isAgain: true,
  } as const;
  await device.hang();
  const queue = new VerificationQueue(1000);
  scope.defer(async () => queue.close());
  assert.equal((await queue.add(job).verdict).type, "unreadable");
  const threads = async () => (await readdir("/proc/self/task")).length;
  const before = await threads();
  for (let i = 0; i < 3; i++) assert.equal((await queue.add(job).verdict).type, "unreadable");
  assert.equal(await threads(), before);
  await device.answer();
  await waitUntil("it is read", async () => (await queue.add(job).verdict).type === "sound");
});
