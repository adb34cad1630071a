import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { diskIdentity, diskStatus, foundDisk, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { decideOn, inShort, record } from "../../../test/support/agent/world.ts";
import { defaultAgentSpec } from "../config/agent-config.ts";
import { emptyRecord } from "../state/agent-state.ts";
import { emptyMemory } from "./memory.ts";

const web = "docker.io/library/web:1";
const d1 = testDigest("one");
const d2 = testDigest("two");
const tag = (digest: typeof d1) => ({ digest, atSeconds: 0 });
const known = { ...emptyRecord, tags: { [web]: tag(d1) } };
const told = (digest: typeof d1, share = 1) => new Map([[web, { digest, atMs: 0, share }]]);
const asked = { ...emptyMemory(0), resolved: told(d1) };
const listed = [imageSet("a", { images: [{ ref: "web:1" }] })];

test("what is warm, named and pinned needs nothing until the registry is due", () => {
  const facts = { sets: listed, images: [record(web, d1)], record: known, memory: asked };
  const decision = decideOn(facts);
  assert.deepEqual([inShort(decision), decision.nextAtMs], [[], 300_000]);
  assert.equal(decision.images.get(web)?.phase, "Warm");
  assert.deepEqual(inShort(decideOn({ ...facts, nowMs: 299_999 })), []);
  assert.deepEqual(inShort(decideOn({ ...facts, nowMs: 300_000 })), [`resolve ${web}`]);
});

test("the interval is stretched by its share, so that not all tags are asked for at once", () => {
  const memory = { ...asked, resolved: told(d1, 1.1) };
  const facts = { sets: listed, images: [record(web, d1)], record: known, memory };
  assert.equal(Math.round(decideOn(facts).nextAtMs), 330_000);
});

test("a new digest is fetched before the tag moves, and then the tag moves at once", () => {
  const memory = { ...asked, resolved: told(d2) };
  const before = { sets: listed, images: [record(web, d1)], record: known, memory };
  const fetching = decideOn(before);
  assert.deepEqual(inShort(fetching), [`fetch ${web}`]);
  const { phase, conditions } = fetching.images.get(web) ?? assert.fail();
  assert.deepEqual([phase, conditions.map(({ type }) => type)], ["Warm", ["Updating"]]);
  const byDigest = record(`docker.io/library/web@${d2}`, d2);
  assert.deepEqual(inShort(decideOn({ ...before, images: [record(web, d1), byDigest] })), [
    `remember ${web}`,
    `set-name ${web}`,
  ]);
  const running = new Map([[`fetch ${d2}`, "fetch"]]);
  assert.deepEqual(
    inShort(decideOn({ ...before, images: [record(web, d1), byDigest], running })),
    [`remember ${web}`, `fetch ${web}`],
    "a fetch that is near its end is not broken off",
  );
});

test("a disk comes before the registry, and its injection takes all that it has at first", () => {
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const [action] = decideOn({ sets: listed, record: known, memory: asked, found: [foundDisk(disk)] }).actions;
  assert.deepEqual(action, {
    type: "inject",
    disk: disk.id,
    path: foundDisk(disk).path,
    force: false,
    keepTags: [],
    names: [web],
  });
});

test("from a disk that is injected only what is missing is injected again", () => {
  const disk = diskIdentity("a", 1, { [web]: d1, "docker.io/library/db:1": d2 });
  const images = [record("docker.io/library/db:1", d2, { from: "disk", disk: disk.id })];
  const [action] = decideOn({ found: [foundDisk(disk)], injected: [diskStatus(disk)], images }).actions;
  assert.deepEqual(action?.type === "inject" ? [action.images, action.names] : action, [[web], [web]]);
});

test("a disk does not move a listed tag that is to stand for something else", () => {
  const disk = diskIdentity("a", 1, { [web]: d2 });
  const facts = { sets: listed, record: known, memory: asked, images: [record(web, d1)], found: [foundDisk(disk)] };
  const [action] = decideOn(facts).actions;
  assert.deepEqual(action?.type === "inject" && action.keepTags, [web]);
});

test("an image whose disk is away is fetched only after the grace; one whose disk is being verified waits for it", () => {
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const facts = {
    sets: listed,
    record: known,
    memory: asked,
    images: [record(web, d1, { from: "disk", disk: disk.id })],
    cold: [d1],
    injected: [diskStatus(disk, { isMounted: false })],
  };
  const away = decideOn(facts);
  assert.deepEqual(inShort(away), []);
  assert.match(away.images.get(web)?.reason ?? "", /is away; waits for it/);
  const memory = { ...asked, awaySince: new Map([[disk.id, -600_000]]) };
  const later = inShort(decideOn({ ...facts, memory }));
  assert.deepEqual(later, [`fetch ${web}`, `release ${web}`, `eject ${disk.id}`]);
  const checking = foundDisk(disk, { state: "checking" });
  assert.equal(decideOn({ ...facts, images: [], injected: [], found: [checking] }).images.get(web)?.phase, "Held");
});

test("gated images are fetched first, and sets, registries and the node bound how many at once", () => {
  const sets = [
    imageSet("late", {
      images: [
        { ref: "a.example/1:1", gate: false },
        { ref: "a.example/2:1", gate: false },
      ],
      parallelism: 1,
    }),
    imageSet("gated", { images: [{ ref: "b.example/1:1" }, { ref: "b.example/2:1" }, { ref: "b.example/3:1" }] }),
  ];
  const names = sets.flatMap(({ spec }) => spec.images.map(({ ref }) => ref));
  const tags = Object.fromEntries(names.map((name) => [name, tag(testDigest(name))]));
  const resolved = new Map(names.map((name) => [name, { digest: testDigest(name), atMs: 0, share: 1 }]));
  const facts = { sets, record: { ...emptyRecord, tags }, memory: { ...asked, resolved } };
  const agent = defaultAgentSpec();
  const fetches = (limits: Partial<typeof agent.limits>) =>
    inShort(decideOn({ ...facts, agent: { ...agent, limits: { ...agent.limits, ...limits } } })).map((each) =>
      each.slice(6),
    );
  assert.deepEqual(fetches({}), ["b.example/1:1", "b.example/2:1", "b.example/3:1", "a.example/1:1"]);
  assert.deepEqual(fetches({ parallelism: 2 }), ["b.example/1:1", "b.example/2:1"]);
  assert.deepEqual(fetches({ parallelismPerRegistry: 1 }), ["b.example/1:1", "a.example/1:1"]);
  const running = new Map([[`fetch ${testDigest("a.example/2:1")}`, "fetch"]]);
  assert.deepEqual(
    inShort(decideOn({ ...facts, running })),
    ["b.example/1:1", "b.example/2:1", "b.example/3:1", "a.example/2:1"].map((name) => `fetch ${name}`),
    "what runs keeps its place",
  );
});

test("under pressure only gated images are fetched", () => {
  const sets = [imageSet("a", { images: [{ ref: "web:1" }, { ref: "db:1", gate: false }] })];
  const tags = { [web]: tag(d1), "docker.io/library/db:1": tag(d2) };
  const resolved = new Map(Object.entries(tags).map(([name, { digest }]) => [name, { digest, atMs: 0, share: 1 }]));
  const decision = decideOn({
    sets,
    record: { ...emptyRecord, tags },
    memory: { ...asked, resolved },
    pressure: "the node waits for its disks",
  });
  assert.deepEqual(inShort(decision), [`fetch ${web}`]);
  assert.equal(decision.images.get("docker.io/library/db:1")?.phase, "Held");
  assert.ok(Number.isFinite(decision.nextAtMs));
});

test("with Never the first digest that is known is remembered, with the disk that said so", () => {
  const sets = [imageSet("a", { images: [{ ref: "web:1", refresh: "Never" }] })];
  const disk = diskIdentity("a", 3, { [web]: d1 });
  const remember = decideOn({ sets, found: [foundDisk(disk)] }).actions.find(({ type }) => type === "remember");
  assert.deepEqual(remember, {
    type: "remember",
    name: web,
    tag: { digest: d1, disk: { line: "a", sequence: 3 } },
  });
  assert.deepEqual(inShort(decideOn({ sets })), [`resolve ${web}`], "nobody knows it: the registry is asked once");
});

test("a name that others are changing is left alone until they are done", () => {
  const decision = decideOn({ sets: listed, record: known, memory: asked, unsettled: new Map([[web, 100]]) });
  assert.deepEqual([inShort(decision), decision.nextAtMs], [[], 100]);
  const byDigest = new Map([[`docker.io/library/web@${d1}`, 100]]);
  assert.deepEqual(inShort(decideOn({ sets: listed, record: known, memory: asked, unsettled: byDigest })), []);
});

test("what failed is tried again when its time has come, and says why it failed", () => {
  const failure = { count: 1, untilMs: 1000, message: "no such manifest", code: "not-found" };
  const memory = { ...asked, failures: new Map([[`fetch ${d1}`, failure]]) };
  const failed = decideOn({ sets: listed, record: known, memory });
  assert.deepEqual([inShort(failed), failed.nextAtMs], [[], 1000]);
  assert.deepEqual(failed.images.get(web), { phase: "Failed", reason: "no such manifest", conditions: [] });
  assert.deepEqual(inShort(decideOn({ sets: listed, record: known, memory, nowMs: 1000 })), [`fetch ${web}`]);
});

test("a listed image is fetched when the injection of its disk has failed several times", () => {
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const facts = { record: known, found: [foundDisk(disk)], nowMs: 1000 };
  const failed = (count: number, untilMs: number) => ({
    ...asked,
    failures: new Map([[`disk ${disk.id}`, { count, untilMs, message: "not here", code: "failed-precondition" }]]),
  });
  assert.deepEqual(inShort(decideOn({ ...facts, sets: listed, memory: failed(2, 5000) })), []);
  const fetching = decideOn({ ...facts, sets: listed, memory: failed(3, 5000) });
  assert.deepEqual(inShort(fetching), [`fetch ${web}`]);
  assert.equal(fetching.images.get(web)?.phase, "Fetching");
  const again = inShort(decideOn({ ...facts, sets: listed, memory: failed(3, 1000) }));
  assert.deepEqual([...again].sort(), [`fetch ${web}`, `inject ${disk.id}`], "the disk is tried again all the same");
  assert.deepEqual(inShort(decideOn({ ...facts, memory: failed(3, 5000) })), [], "nobody lists it");
});

test("an image that a disk was to give several times in vain is fetched", () => {
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const facts = { sets: listed, record: known, found: [foundDisk(disk)], injected: [diskStatus(disk)], nowMs: 10_000 };
  const vain = (count: number) => ({ ...asked, vain: new Map([[web, { count, atMs: 0 }]]) });
  assert.deepEqual(inShort(decideOn({ ...facts, memory: vain(1) })), [`inject ${disk.id}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, memory: vain(3) })), [`fetch ${web}`]);
});

test("chains are completed when nothing else is to be injected", () => {
  const disk = diskIdentity("a", 1, { [web]: d1 });
  const pending = diskStatus(disk, { images: [{ names: [web], digest: d1, chain: "pending", conditions: [] }] });
  const images = [record(web, d1, { from: "disk", disk: disk.id })];
  const facts = { found: [foundDisk(disk)], injected: [pending], images };
  assert.deepEqual(inShort(decideOn(facts)), [`chains ${disk.id}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, cold: [d1] })), [`inject ${disk.id}`]);
});

test("an injected disk whose file is verified again keeps its images, and gives none anew until that is over", () => {
  const older = diskIdentity("a", 1, { [web]: d2 });
  const disk = diskIdentity("a", 2, { [web]: d1 });
  const found = [foundDisk(older), foundDisk(disk, { state: "checking" })];
  const facts = {
    found,
    injected: [diskStatus(older, { heldBy: [{ kind: "container", name: "c" }] }), diskStatus(disk)],
  };
  const present = decideOn({ ...facts, images: [record(web, d1, { from: "disk", disk: disk.id })] });
  assert.deepEqual([inShort(present), present.images.get(web)?.phase], [[], "Warm"]);
  const deleted = decideOn({ ...facts, sets: listed, record: known, memory: asked });
  assert.deepEqual([inShort(deleted), deleted.images.get(web)?.phase], [[], "Held"]);
});

test("a pin that a pull took away is set again, and one that does not show is set once", () => {
  const facts = { sets: listed, record: known, images: [record(web, d1, { from: "elsewhere" }, false)] };
  const memory = { ...asked, pinned: new Set([`${web}@${d1}`]) };
  const unseen = decideOn({ ...facts, memory });
  assert.deepEqual(inShort(unseen), []);
  const seen = decideOn({ ...facts, memory, images: [record(web, d1)] });
  assert.deepEqual(inShort(decideOn({ ...facts, memory: seen.memory })), [`set-name ${web}`]);
});

test("right after it was made, before its events have settled, an image has not failed", () => {
  const made = (count: number) => ({ ...asked, vain: new Map([[web, { count, atMs: 0 }]]) });
  const facts = { sets: listed, record: known, unsettled: new Map([[web, 100]]) };
  assert.equal(decideOn({ ...facts, memory: made(1) }).images.get(web)?.phase, "Pending");
  assert.equal(decideOn({ ...facts, memory: made(2) }).images.get(web)?.phase, "Failed");
});

test("that the last digest stays is said only of a tag that has one", () => {
  const failure = { count: 1, untilMs: 1000, message: "registry is down", code: "registry-unreachable" };
  const memory = { ...emptyMemory(0), failures: new Map([[`resolve ${web}`, failure]]) };
  const said = (input: Parameters<typeof decideOn>[0]) =>
    decideOn({ sets: listed, memory, ...input })
      .images.get(web)
      ?.conditions.map(({ message }) => message);
  assert.deepEqual(said({}), ["registry is down"]);
  assert.deepEqual(said({ record: known, images: [record(web, d1)] }), ["registry is down; the last digest stays"]);
});

test("a fetch that is more urgent takes the place of one that runs, one that is as urgent waits", () => {
  const refs = (priority: number) => [
    { ref: `docker.io/library/new@${d2}`, gate: false, priority },
    { ref: `docker.io/library/old@${d1}`, gate: false },
  ];
  const agent = defaultAgentSpec();
  const facts = {
    agent: { ...agent, limits: { ...agent.limits, parallelism: 1 } },
    running: new Map([[`fetch ${d1}`, "fetch"]]),
  };
  const chosen = (priority: number) =>
    inShort(decideOn({ ...facts, sets: [imageSet("a", { images: refs(priority) })] }));
  assert.deepEqual(chosen(0), [`fetch docker.io/library/old@${d1}`]);
  assert.deepEqual(chosen(1), [`fetch docker.io/library/new@${d2}`]);
});

describe("a registry that does not give what it says", () => {
  const failure = { count: 3, untilMs: 9000, message: "wrong bytes came", code: "digest-mismatch" };
  const lied = { ...asked, resolved: told(d2), failures: new Map([[`fetch ${d2}`, failure]]) };
  const facts = { sets: listed, record: known, memory: lied };

  test("leaves the last good digest, which is said, and it is asked for again when it is time", () => {
    const images = [record(web, d1)];
    const held = decideOn({ ...facts, images });
    assert.deepEqual([inShort(held), held.nextAtMs], [[], 9000]);
    const { phase, conditions } = held.images.get(web) ?? assert.fail();
    assert.equal(phase, "Warm");
    assert.deepEqual(
      conditions.map(({ type }) => type),
      ["DigestUnavailable"],
    );
    for (const part of [d1, d2, "wrong bytes came"]) assert.ok(conditions[0]?.message.includes(part), part);
    assert.deepEqual(inShort(decideOn({ ...facts, images, nowMs: 9000 })), [`fetch ${web}`]);
  });

  test("does not keep the last good one from being made again", () => {
    const [again] = decideOn(facts).actions;
    assert.deepEqual(again?.type === "fetch" && again.digest, d1);
    const disk = diskIdentity("a", 1, { [web]: d1 });
    assert.deepEqual(inShort(decideOn({ ...facts, found: [foundDisk(disk)] })), [`inject ${disk.id}`]);
  });

  test("is believed where nothing else is known, and while that is gone what it says comes first", () => {
    const memory = { ...asked, resolved: told(d2) };
    assert.deepEqual(inShort(decideOn({ sets: listed, memory })), [`remember ${web}`, `fetch ${web}`]);
    const [only, ...others] = decideOn({ ...facts, memory }).actions;
    assert.deepEqual([only?.type === "fetch" && only.digest, others], [d2, []]);
  });

  test("does not make what the node has be forgotten, whoever brought it", () => {
    const images = [record(web, d1, { from: "elsewhere" })];
    assert.deepEqual(decideOn({ ...facts, record: emptyRecord, images }).actions, [
      { type: "remember", name: web, tag: { digest: d1 } },
    ]);
  });
});

test("a disk that has what a tag stands for now comes before the registry, unless it could not give it", () => {
  const disk = diskIdentity("a", 1, { [web]: d2 });
  const memory = { ...asked, resolved: told(d2) };
  const agent = { ...defaultAgentSpec(), disks: { ...defaultAgentSpec().disks, inject: "Listed" as const } };
  const facts = { sets: listed, record: known, images: [record(web, d1)], found: [foundDisk(disk)], agent };
  assert.deepEqual(inShort(decideOn({ ...facts, memory })), [`inject ${disk.id}`]);
  const skipped = { ...memory, skipped: new Set([`${disk.id} ${d2}`]) };
  const fetching = decideOn({ ...facts, memory: skipped });
  assert.deepEqual([inShort(fetching), fetching.images.get(web)?.phase], [[`fetch ${web}`], "Warm"]);
  const checking = decideOn({ ...facts, memory, found: [foundDisk(disk, { state: "checking" })] });
  assert.deepEqual([inShort(checking), checking.images.get(web)?.phase], [[], "Warm"]);
});

test("what was given up for space is not fetched under a new digest either", () => {
  const memory = { ...asked, resolved: told(d2) };
  const evicted = { ...known, evicted: { [d1]: { atSeconds: 0 } } };
  const decision = decideOn({ sets: listed, record: evicted, memory });
  const { phase, conditions } = decision.images.get(web) ?? assert.fail();
  assert.deepEqual(
    [inShort(decision), phase, conditions.map(({ type }) => type)],
    [[], "Held", ["Updating", "Evicted"]],
  );
  assert.match(conditions[1]?.message ?? "", /^given up for space at 1970-01-01T00:00:00.000Z: /);
  const broken = { ...known, evicted: { [d1]: { atSeconds: Number.MAX_SAFE_INTEGER } } };
  const shown = decideOn({ sets: listed, record: broken, memory: asked }).images.get(web)?.conditions;
  assert.match(shown?.[0]?.message ?? "", /^given up for space: /);
});
