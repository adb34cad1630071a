import assert from "node:assert/strict";
import { test } from "node:test";
import { diskIdentity, diskStatus, foundDisk, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { decideOn, inShort, record } from "../../../test/support/agent/world.ts";
import { defaultAgentSpec } from "../config/agent-config.ts";
import { emptyRecord } from "../state/agent-state.ts";
import { emptyMemory } from "./memory.ts";

const web = "docker.io/library/web:1";
const [d1, d2] = [testDigest("one"), testDigest("two")];
const byDigest = (digest: typeof d1) => `docker.io/library/web@${digest}`;
const hour = 3_600_000;
const users = [{ kind: "container", name: "c1" }] as const;
const sets = [imageSet("a", { images: [{ ref: "web:1", refresh: "Never" }] })];
const moved = { ...emptyRecord, tags: { [web]: { digest: d2, atSeconds: 0 } } };

test("the previous image stays for an hour beyond its last container", () => {
  const images = [record(web, d2), record(byDigest(d2), d2), record(byDigest(d1), d1)];
  const facts = { sets, images, record: moved };
  const tidy = { ...emptyMemory(0), tidiedMs: 100 * hour };
  const inUse = decideOn({ ...facts, users: new Map([[d1, users]]), memory: tidy, nowMs: 10 * hour });
  assert.deepEqual(inShort(inUse), []);
  const left = decideOn({ ...facts, memory: inUse.memory, nowMs: 20 * hour });
  assert.deepEqual([inShort(left), left.nextAtMs], [[], 21 * hour]);
  const later = decideOn({ ...facts, memory: left.memory, nowMs: 21 * hour });
  assert.deepEqual(inShort(later), [`release ${byDigest(d1)}`]);
});

test("the hour of the previous image begins when its tag moves, however long it was without a container", () => {
  const images = [record(web, d1), record(byDigest(d1), d1)];
  const known = { ...emptyRecord, tags: { [web]: { digest: d1, atSeconds: 0 } } };
  const idle = { ...emptyMemory(0), idleSince: new Map([[d1, 0]]), tidiedMs: 100 * hour };
  const { memory } = decideOn({ sets, images, record: known, memory: idle, nowMs: 10 * hour });
  const after = [record(web, d2), record(byDigest(d2), d2), record(byDigest(d1), d1)];
  const left = decideOn({ sets, images: after, record: moved, memory, nowMs: 10 * hour });
  assert.deepEqual([inShort(left), left.nextAtMs], [[], 11 * hour]);
});

test("the previous image goes at once when space is short", () => {
  const images = [record(web, d2), record(byDigest(d1), d1)];
  const space = [{ folder: "/", device: 1, totalBytes: 100, freeBytes: 10, totalInodes: 0, freeInodes: 0 }];
  assert.deepEqual(inShort(decideOn({ sets, images, record: moved, space })), [`release ${byDigest(d1)}`]);
});

test("what a tag stands for until the new image is warm is kept, however long that takes", () => {
  const images = [record(web, d1), record(byDigest(d1), d1)];
  const memory = { ...emptyMemory(0), idleSince: new Map([[d1, 0]]), tidiedMs: 100 * hour };
  assert.deepEqual(inShort(decideOn({ sets, images, record: moved, memory, nowMs: 100 * hour })), [`fetch ${web}`]);
});

test("what is no longer listed is released and forgotten when nothing uses it", () => {
  const images = [record(web, d1), record(byDigest(d1), d1)];
  const facts = { images, record: { ...emptyRecord, tags: { [web]: { digest: d1, atSeconds: 0 } } } };
  assert.deepEqual(inShort(decideOn({ ...facts, users: new Map([[d1, users]]) })), []);
  assert.deepEqual(inShort(decideOn(facts)), [`release ${web}`, `release ${byDigest(d1)}`, `forget ${web}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, images: [] })), [`forget ${web}`]);
});

test("what is missing from the lists for a moment, while their files are replaced, is not released", () => {
  const facts = {
    images: [record(web, d1)],
    record: { ...emptyRecord, tags: { [web]: { digest: d1, atSeconds: 0 } } },
  };
  const { memory } = decideOn({ ...facts, sets });
  const without = decideOn({ ...facts, memory, nowMs: 9000 });
  assert.deepEqual([inShort(without), without.nextAtMs], [[], 10_000]);
  assert.deepEqual(inShort(decideOn({ ...facts, memory, nowMs: 10_000 })), [`release ${web}`, `forget ${web}`]);
});

test("what others brought is never released, only let go of, once", () => {
  const pinned = [record(web, d1, { from: "elsewhere" })];
  const [action, ...more] = decideOn({ images: pinned }).actions;
  assert.deepEqual([action?.type === "release" && action.how, more], ["unpin", []]);
  const memory = { ...emptyMemory(0), letGo: new Set([`${web}@${d1}`]) };
  assert.deepEqual(inShort(decideOn({ images: pinned, memory })), []);
  const sets = [imageSet("s", { images: [{ ref: "web:1", refresh: "Never" }] })];
  const { memory: wanted } = decideOn({ images: pinned, memory, sets });
  assert.deepEqual(inShort(decideOn({ images: pinned, memory: wanted })), [`release ${web}`], "listed meanwhile");
  assert.deepEqual(inShort(decideOn({ images: [record(web, d1, { from: "elsewhere" }, false)] })), []);
});

test("with Listed, images of a disk that no set lists are let go of, and the disk stays", () => {
  const disk = diskIdentity("a", 1, { [web]: d2, "docker.io/library/db:1": d1 });
  const agent = defaultAgentSpec();
  const origin = { from: "disk", disk: disk.id } as const;
  const facts = {
    sets,
    record: moved,
    found: [foundDisk(disk)],
    injected: [diskStatus(disk)],
    images: [record(web, d2, origin), record("docker.io/library/db:1", d1, origin)],
  };
  assert.deepEqual(inShort(decideOn(facts)), []);
  const listed = { ...agent, disks: { ...agent.disks, inject: "Listed" as const } };
  assert.deepEqual(inShort(decideOn({ ...facts, agent: listed })), ["release docker.io/library/db:1"]);
});

test("a tag of what another wanted name stands for goes when it is no longer listed, wherever the image is from", () => {
  const other = "ghcr.io/team/other:1";
  const otherByDigest = `ghcr.io/team/other@${d1}`;
  const both = [...sets, imageSet("b", { images: [{ ref: other, refresh: "Never" }] })];
  const tag = { digest: d1, atSeconds: 0 };
  const known = { ...emptyRecord, tags: { [web]: tag, [other]: tag } };
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const onDisk = { found: [foundDisk(disk)], injected: [diskStatus(disk)] };
  for (const [origin, facts] of [
    [{ from: "fetch" }, {}],
    [{ from: "disk", disk: disk.id }, onDisk],
  ] as const) {
    const images = [web, byDigest(d1), other, otherByDigest].map((name) => record(name, d1, origin));
    const before = decideOn({ ...facts, sets: both, images, record: known });
    assert.deepEqual(inShort(before), []);
    const after = { ...facts, sets, images, record: known, memory: before.memory };
    const moment = decideOn({ ...after, nowMs: 9000 });
    assert.deepEqual([inShort(moment), moment.nextAtMs], [[], 10_000]);
    const gone = [`release ${other}`, `release ${otherByDigest}`, `forget ${other}`];
    assert.deepEqual(inShort(decideOn({ ...after, nowMs: 10_000 })), gone);
  }
});

test("what a wanted name is to stand for and does not yet is kept, by whatever name it is there", () => {
  const other = "ghcr.io/team/other:1";
  const images = [record(other, d1), record(`ghcr.io/team/other@${d1}`, d1)];
  const facts = { sets, images, record: { ...emptyRecord, tags: { [web]: { digest: d1, atSeconds: 0 } } } };
  assert.ok(inShort(decideOn(facts)).every((action) => !action.startsWith("release")));
});

const full = [{ folder: "/", device: 1, totalBytes: 100, freeBytes: 15, totalInodes: 0, freeInodes: 0 }];
const low = "docker.io/library/low:1";
const high = "docker.io/library/high:1";

test("too full: one image at a time is given up, of the lowest priority, and all its names", () => {
  const two = [
    imageSet("a", {
      images: [
        { ref: "high:1", gate: false, priority: 1, refresh: "Never" },
        { ref: "low:1", gate: false, refresh: "Never" },
      ],
    }),
  ];
  const tags = { [low]: { digest: d1, atSeconds: 0 }, [high]: { digest: d2, atSeconds: 0 } };
  const lowByDigest = `docker.io/library/low@${d1}`;
  const images = [record(low, d1), record(lowByDigest, d1), record(high, d2)];
  const facts = { sets: two, images, record: { ...emptyRecord, tags }, space: full };
  assert.deepEqual(inShort(decideOn(facts)), [`release ${low}`, `release ${lowByDigest}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, users: new Map([[d1, users]]) })), [`release ${high}`]);
  const memory = { ...emptyMemory(0), lastEvictedMs: 0 };
  const evicted = { ...facts.record, evicted: { [d1]: { atSeconds: 0 } } };
  assert.deepEqual(
    inShort(decideOn({ ...facts, record: evicted, images: [record(high, d2)], memory, nowMs: 1000 })),
    [],
  );
  const gated = [imageSet("a", { images: [{ ref: "low:1", refresh: "Never" }] })];
  assert.deepEqual(
    inShort(
      decideOn({
        ...facts,
        sets: gated,
        images: [record(low, d1)],
        record: { ...emptyRecord, tags: { [low]: { digest: d1, atSeconds: 0 } } },
      }),
    ),
    [],
  );
});

test("images of disks are not given up for space", () => {
  const disk = diskIdentity("a", 1, { [low]: d1 });
  const images = [record(low, d1, { from: "disk", disk: disk.id })];
  const facts = { found: [foundDisk(disk)], injected: [diskStatus(disk)], images, space: full };
  assert.deepEqual(inShort(decideOn(facts)), []);
});

test("leftovers of fetches go once an hour, and once a minute while space is short", () => {
  const full = [{ folder: "/blobs", device: 1, totalBytes: 100, freeBytes: 1, totalInodes: 100, freeInodes: 90 }];
  assert.deepEqual(inShort(decideOn({ nowMs: 3_599_999 })), []);
  assert.deepEqual(decideOn({ nowMs: 3_600_000 }).actions, [{ type: "tidy", isTight: false }]);
  assert.deepEqual(decideOn({ nowMs: 60_000, space: full }).actions, [{ type: "tidy", isTight: true }]);
  assert.deepEqual(inShort(decideOn({ nowMs: 3_600_000, memory: { ...emptyMemory(0), tidiedMs: 3_000_000 } })), []);
});

test("what was given up for space comes back when there has been room for ten minutes, whatever clocks say", () => {
  const sets = [imageSet("a", { images: [{ ref: "low:1", gate: false, refresh: "Never" }] })];
  const space = full.map((use) => ({ ...use, freeBytes: 60 }));
  for (const atSeconds of [0, 2 ** 40]) {
    const kept = { ...emptyRecord, tags: { [low]: { digest: d1, atSeconds: 0 } }, evicted: { [d1]: { atSeconds } } };
    const first = decideOn({ sets, record: kept, space, nowMs: 5000 });
    assert.deepEqual([inShort(first), first.nextAtMs], [[], 605_000]);
    const later = (nowMs: number) => decideOn({ sets, record: kept, space, memory: first.memory, nowMs }).actions;
    assert.deepEqual(later(604_999), []);
    assert.deepEqual(later(605_000), [{ type: "readmit", digests: [d1] }]);
  }
});

test("what was given up for space and is no longer wished for is forgotten, and space that cannot be measured is no room", () => {
  const kept = { ...emptyRecord, evicted: { [d1]: { atSeconds: 0 } } };
  assert.deepEqual(decideOn({ record: kept, space: full }).actions, [{ type: "readmit", digests: [d1] }]);
  assert.equal(decideOn({ record: kept, space: [] }).memory.roomSinceMs, undefined);
});
