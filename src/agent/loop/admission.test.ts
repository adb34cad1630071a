import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { policy } from "../../../test/support/agent/world.ts";
import { AgentError } from "../agent-error.ts";
import { listImages } from "../desired/listed-images.ts";
import { MemorySpaceGauge } from "../space/memory-space-gauge.ts";
import { Admission } from "./admission.ts";
import { ManualClock } from "./manual-clock.ts";

const signal = new AbortController().signal;

function makeAdmission(folders = () => ({ blobs: "/blobs", snapshots: "/snapshots" })) {
  const clock = new ManualClock();
  const space = new MemorySpaceGauge();
  const trouble = { now: "" };
  const pressure = { measure: async () => trouble.now };
  const gate = { isOpen: false };
  const admission = new Admission({ clock, space, pressure, folders, isGateOpen: () => gate.isOpen });
  const settle = async () => {
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  };
  const advance = (ms: number) => clock.advance(ms, settle);
  return { admission, gate, clock, space, trouble, advance };
}

/** Of a fetch that has just begun. */
const begun = (totalBytes: number) => ({ totalBytes, presentBytes: 0, fetchedBytes: 0, unpackedBytes: 0 });
const isFull = (error: unknown) => error instanceof AgentError && error.code === "no-space";

test("a fetch goes on only while what remains of all fetches stays under high water", async () => {
  const { admission, space, clock, advance } = makeAdmission();
  admission.configure(policy, []);
  const ticket = { sets: [], isGated: true, signal };
  const later = { ...ticket };
  space.percent = 70;
  // One byte to fetch is four on the disk: fetched, and unpacked.
  admission.note(ticket, begun(1.2e9));
  await admission.admit(1, ticket);
  admission.note(later, { totalBytes: 1e9, presentBytes: 0.5e9, fetchedBytes: 0.4e9, unpackedBytes: 0.9e9 });
  await assert.rejects(admission.admit(1, later), (error) => isFull(error) && /75 % full/.test(String(error)));
  await admission.admit(1, ticket);
  admission.end(ticket);
  await admission.admit(1, later);
  space.percent = 80;
  await advance(1000);
  assert.equal(clock.nowMs(), 1000);
  await assert.rejects(admission.admit(1, later), isFull);
});

test("what was fetched and is not unpacked counts, also what an earlier agent fetched", async () => {
  const { admission, space } = makeAdmission();
  admission.configure(policy, []);
  const ticket = { sets: [], isGated: true, signal };
  space.percent = 70;
  const resumed = { totalBytes: 2e9, presentBytes: 1.9e9, fetchedBytes: 0.1e9, unpackedBytes: 0 };
  admission.note(ticket, resumed);
  await assert.rejects(admission.admitUnpack(ticket, signal), isFull);
  admission.note(ticket, { ...resumed, unpackedBytes: 0.5e9 });
  (await admission.admitUnpack(ticket, signal))();
});

test("inodes count as bytes do, and each file system for what comes to it", async () => {
  const { admission, space, advance } = makeAdmission();
  admission.configure(policy, []);
  const ticket = { sets: [], isGated: true, signal };
  space.inodePercent = 70;
  // 400 inodes for each million bytes.
  admission.note(ticket, begun(0.7e9));
  await admission.checkSpace(ticket);
  admission.note(ticket, begun(0.9e9));
  await assert.rejects(admission.checkSpace(ticket), isFull);
  space.inodePercent = 10;
  space.percent = 70;
  await advance(1000);
  admission.note(ticket, begun(1.5e9));
  await assert.rejects(admission.checkSpace(ticket), isFull);
  space.isOne = false;
  await advance(1000);
  await admission.checkSpace(ticket);
  admission.note(ticket, begun(1.7e9));
  await assert.rejects(
    admission.checkSpace(ticket),
    (error) => isFull(error) && /of \/snapshots would/.test(String(error)),
  );
});

test("of fetches that do not fit together, that of a gated image goes on", async () => {
  const { admission, space } = makeAdmission();
  admission.configure(policy, []);
  space.percent = 70;
  const waiting = { sets: [], isGated: false, signal };
  const gated = { sets: [], isGated: true, signal };
  admission.note(waiting, begun(1e9));
  await admission.checkSpace(waiting);
  admission.note(gated, begun(1e9));
  await admission.checkSpace(gated);
  await assert.rejects(admission.checkSpace(waiting), isFull);
});

test("the folders of a runtime that was started again with another root are measured", async () => {
  let root = "/old";
  const { admission, space, advance } = makeAdmission(() => ({
    blobs: `${root}/blobs`,
    snapshots: `${root}/snapshots`,
  }));
  admission.configure(policy, []);
  const ticket = { sets: [], isGated: true, signal };
  await admission.checkSpace(ticket);
  root = "/new";
  space.percent = 99;
  await advance(1000);
  await assert.rejects(admission.checkSpace(ticket), /of \/new\/blobs would be/);
});

test("bytes come at the rate of the node, and of every set that lists the image", async () => {
  const { admission, advance } = makeAdmission();
  const { sets } = listImages([imageSet("slow", { bandwidth: "1k" })], {});
  admission.configure({ ...policy, bytesPerSecond: 10_000 }, sets);
  let passed = 0;
  const fetch = async (ofSets: string[]) => {
    for (;;) {
      await admission.admit(1000, { sets: ofSets, isGated: true, signal });
      passed += 1000;
      if (passed > 1e6) return;
    }
  };
  void fetch(["slow"]);
  await advance(10_000);
  assert.ok(passed >= 9_000 && passed <= 12_000, `${passed} in the slow set`);
  passed = 0;
  void fetch([]);
  await advance(10_000);
  assert.ok(passed >= 90_000 && passed <= 115_000, `${passed} on the node`);
  admission.configure(policy, []);
  await advance(60_000);
});

test("what no workload waits for waits while the node is under pressure", async () => {
  const { admission, trouble, advance } = makeAdmission();
  admission.configure(policy, []);
  trouble.now = "the node waits for its disks";
  await admission.admit(1, { sets: [], isGated: true, signal });
  let isAdmitted = false;
  const waiting = admission.admit(1, { sets: [], isGated: false, signal }).then(() => {
    isAdmitted = true;
  });
  await advance(30_000);
  assert.equal(isAdmitted, false);
  trouble.now = "";
  await advance(2000);
  assert.equal(isAdmitted, true);
  await waiting;
});

test("who waits for bandwidth is freed by the signal", async () => {
  const { admission, advance } = makeAdmission();
  admission.configure({ ...policy, bytesPerSecond: 1 }, []);
  const stop = new AbortController();
  const ticket = { sets: [], isGated: true, signal: stop.signal };
  await admission.admit(1000, ticket);
  const waiting = admission.admit(1, ticket);
  await advance(10);
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("who gives up waiting for bandwidth leaves it to others", async () => {
  const { admission, clock, advance } = makeAdmission();
  admission.configure({ ...policy, bytesPerSecond: 1000 }, []);
  await admission.admit(1000, { sets: [], isGated: true, signal });
  const leaving = new AbortController();
  const given = admission.admit(1e9, { sets: [], isGated: true, signal: leaving.signal });
  await nextTurn();
  leaving.abort(new Error("no longer wanted"));
  await assert.rejects(given, /no longer wanted/);
  let isIn = false;
  void admission.admit(1000, { sets: [], isGated: true, signal }).then(() => {
    isIn = true;
  });
  await advance(1000);
  assert.deepEqual([isIn, clock.nowMs()], [true, 1000]);
});

test("layers are unpacked two at a time once workloads have come", async () => {
  const { admission, gate } = makeAdmission();
  const ticket = { sets: [], isGated: true, signal };
  await Promise.all(Array.from({ length: 10 }, () => admission.admitUnpack(ticket, signal)));
  gate.isOpen = true;
  const ends = [await admission.admitUnpack(ticket, signal), await admission.admitUnpack(ticket, signal)];
  let isIn = false;
  const third = admission.admitUnpack(ticket, signal).then(() => {
    isIn = true;
  });
  await nextTurn();
  assert.equal(isIn, false);
  ends[0]?.();
  await third;
  const aborting = new AbortController();
  const fourth = admission.admitUnpack(ticket, aborting.signal);
  aborting.abort(new Error("enough"));
  await assert.rejects(fourth, /enough/);
});
