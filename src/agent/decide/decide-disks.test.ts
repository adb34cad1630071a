import assert from "node:assert/strict";
import { test } from "node:test";
import { diskIdentity, diskStatus, foundDisk, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { decideOn, inShort, record } from "../../../test/support/agent/world.ts";
import { defaultAgentSpec } from "../config/agent-config.ts";
import { emptyRecord } from "../state/agent-state.ts";
import { emptyMemory } from "./memory.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const [d1, d2] = [testDigest("one"), testDigest("two")];
const older = diskIdentity("a", 1, { [web]: d1, [db]: d1 });
const newer = diskIdentity("a", 2, { [web]: d2 });
const fromNewer = record(web, d2, { from: "disk", disk: newer.id });
const user = { kind: "container", name: "c1" } as const;
const both = { found: [foundDisk(older), foundDisk(newer)], images: [fromNewer] };
const agent = defaultAgentSpec();

test("a replaced disk is ejected once the newer one has taken over and nothing stands on the older one", () => {
  const injected = [diskStatus(older), diskStatus(newer)];
  assert.deepEqual(inShort(decideOn({ ...both, injected })), [`eject ${older.id}`]);
  const held = decideOn({ ...both, injected: [diskStatus(older, { heldBy: [user] }), diskStatus(newer)] });
  assert.deepEqual(inShort(held), []);
  assert.deepEqual(
    held.disks.map(({ id, phase, isSafeToDetach }) => [id, phase, isSafeToDetach]),
    [
      [older.id, "Replaced", false],
      [newer.id, "Injected", false],
    ],
  );
  assert.ok(Number.isFinite(held.nextAtMs), "users go without an event");
  const early = decideOn({ ...both, cold: [d2], injected });
  assert.deepEqual(inShort(early), [`inject ${newer.id}`], "the newer one is not usable yet");
});

test("a replaced disk stays while a listed image comes from it alone", () => {
  const sets = [imageSet("s", { images: [{ ref: "db:1", refresh: "Never" }] })];
  const tags = { [db]: { digest: d1, atSeconds: 0 } };
  const images = [fromNewer, record(db, d1, { from: "disk", disk: older.id })];
  const facts = { ...both, sets, images, record: { ...emptyRecord, tags } };
  assert.deepEqual(inShort(decideOn({ ...facts, injected: [diskStatus(older), diskStatus(newer)] })), []);
});

test("a replaced disk is safe to detach when nothing holds it, and its file goes only when that is wished", () => {
  const { path } = foundDisk(older);
  const facts = { ...both, injected: [diskStatus(newer)] };
  const phase = (holders: ReadonlyMap<string, readonly (typeof user)[]>) => {
    const found = decideOn({ ...facts, holders }).disks.find(({ id }) => id === older.id);
    return [found?.phase, found?.isSafeToDetach];
  };
  assert.deepEqual(phase(new Map()), ["Replaced", false], "it is not known whether something does");
  assert.deepEqual(phase(new Map([[path, [user]]])), ["Replaced", false]);
  assert.deepEqual(phase(new Map([[path, []]])), ["Released", true]);
  const holders = new Map([[path, []]]);
  assert.deepEqual(inShort(decideOn({ ...facts, holders })), []);
  const removing = { ...agent, disks: { ...agent.disks, removeReleased: true } };
  assert.deepEqual(inShort(decideOn({ ...facts, holders, agent: removing })), [`remove-file ${older.id}`]);
  const device = [foundDisk(older, { kind: "device" }), foundDisk(newer, { kind: "device" })];
  assert.deepEqual(inShort(decideOn({ ...facts, found: device, holders, agent: removing })), []);
});

test("a held disk is ejected when nothing uses it, and not injected again", () => {
  const held = { ...emptyRecord, holds: [older.id] };
  const facts = { found: [foundDisk(older)], record: held };
  assert.deepEqual(inShort(decideOn({ ...facts, injected: [diskStatus(older)] })), [`eject ${older.id}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, injected: [diskStatus(older, { heldBy: [user] })] })), []);
  assert.deepEqual(inShort(decideOn(facts)), []);
});

test("a disk that stays away is ejected, or, while something stands on it, cut off and then without a name", () => {
  const source = "/var/lib/nodewarm/disks/a.erofs";
  const memory = { ...emptyMemory(0), awaySince: new Map([[older.id, 0]]), everFound: new Set([older.id]) };
  const images = [record(web, d1, { from: "disk", disk: older.id })];
  const facts = { images, memory, nowMs: 600_000 };
  const used = [diskStatus(older, { source, heldBy: [user] })];
  assert.deepEqual(inShort(decideOn({ ...facts, injected: used })), [`cut-off ${older.id}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, injected: used, nowMs: 599_999 })), []);
  assert.deepEqual(inShort(decideOn({ ...facts, injected: [diskStatus(older, { source })] })), [`eject ${older.id}`]);
  const gone = decideOn({ ...facts, injected: used, cold: [d1] });
  assert.deepEqual(inShort(gone), [`cut-off ${older.id}`, `release ${web}`], "its device was pulled out");
  const cutOff = [diskStatus(older, { source, heldBy: [user], isMounted: false })];
  assert.deepEqual(inShort(decideOn({ ...facts, injected: cutOff, cold: [d1] })), [`release ${web}`]);
  assert.deepEqual(inShort(decideOn({ ...facts, injected: cutOff, cold: [d1], nowMs: 599_999 })), []);
});

test("a disk whose bytes are not what was verified is cut off at once, and its names go after the grace", () => {
  const images = [record(web, d1, { from: "disk", disk: older.id })];
  const injected = [diskStatus(older, { heldBy: [user] })];
  for (const state of ["broken", "checking", "refused"] as const) {
    const found = [foundDisk(older, { state, reason: "why", isAltered: true })];
    const decision = decideOn({ found, images, injected });
    assert.deepEqual(inShort(decision), [`cut-off ${older.id}`]);
    assert.deepEqual(
      decision.disks.map(({ phase, reason }) => [phase, reason]),
      [["Away", `${foundDisk(older).path} is ${state}: why`]],
      "it is told of once",
    );
    const cutOff = [diskStatus(older, { heldBy: [user], isMounted: false })];
    assert.deepEqual(inShort(decideOn({ found, images, injected: cutOff, cold: [d1] })), []);
  }
  const altered = [foundDisk(older, { state: "broken", isAltered: true })];
  const held = decideOn({ found: altered, injected, record: { ...emptyRecord, holds: [older.id] } });
  assert.deepEqual(inShort(held), [`cut-off ${older.id}`], "also one that a person has ejected");
  const replaced = [{ type: "SourceMissing", message: "something else is there" }];
  const found = [foundDisk(older, { state: "broken", reason: "why", isAltered: true, identity: undefined })];
  const beneath = [diskStatus(older, { heldBy: [user], conditions: replaced })];
  const decision = decideOn({ found, images, injected: beneath });
  assert.deepEqual(inShort(decision), [], "what is mounted is another file");
  assert.equal(decision.disks[0]?.phase, "Away");
});

test("a disk whose mount cannot be read is mounted anew while it is trusted, and given up after the grace", () => {
  const unreadable = [{ type: "Unreadable", message: "it cannot be read" }];
  const injected = [diskStatus(older, { conditions: unreadable })];
  const found = [foundDisk(older)];
  const images = [record(web, d1, { from: "disk", disk: older.id })];
  const first = decideOn({ found, injected, images });
  assert.deepEqual(inShort(first), [`inject ${older.id}`]);
  assert.deepEqual([first.disks[0]?.phase, first.disks[0]?.reason], ["Away", "it cannot be read"]);
  assert.deepEqual([...first.memory.awaySince], [[older.id, 0]]);
  const sets = [imageSet("s", { images: [{ ref: "web:1", refresh: "Never" }] })];
  const tags = { [web]: { digest: d1, atSeconds: 0 } };
  const facts = { sets, found, images, cold: [d1], record: { ...emptyRecord, tags }, memory: first.memory };
  assert.deepEqual(inShort(decideOn({ ...facts, injected, nowMs: 1000 })), [`inject ${older.id}`]);
  const late = decideOn({ ...facts, injected, nowMs: 600_000 });
  assert.deepEqual(inShort(late), [`fetch ${web}`, `release ${web}`, `eject ${older.id}`]);
});

test("a disk that is verified again while it is injected is told of once", () => {
  const found = [foundDisk(older, { state: "checking", reason: "is read in full (50 %)", checkedShare: 0.5 })];
  const { disks } = decideOn({ found, injected: [diskStatus(older)], images: [record(web, d1), record(db, d1)] });
  assert.deepEqual(
    disks.map(({ phase, reason, checkedShare }) => [phase, reason, checkedShare]),
    [["Injected", "is read in full (50 %)", 0.5]],
  );
  const copy = [foundDisk(older), foundDisk(older, { state: "checking", path: "/disks/copy.erofs" })];
  const two = decideOn({ found: copy, injected: [diskStatus(older)], images: [record(web, d1), record(db, d1)] });
  assert.deepEqual(
    two.disks.map(({ phase }) => phase),
    ["Injected", "Checking"],
  );
});

test("what is to be known of a trusted disk's storage is told with it", () => {
  const conditions = [{ type: "FileSystemReadOnly", message: "it is read-only now" }];
  const facts = { injected: [diskStatus(older)], images: [record(web, d1), record(db, d1)] };
  const { disks } = decideOn({ ...facts, found: [foundDisk(older, { conditions })] });
  assert.deepEqual([disks[0]?.phase, disks[0]?.conditions], ["Injected", conditions]);
});

test("a disk that changed under us, or is no longer trusted, is away", () => {
  for (const state of ["broken", "refused"] as const) {
    const found = [foundDisk(older, { state, reason: "why" })];
    const decision = decideOn({ found, injected: [diskStatus(older)], images: [record(web, d1)] });
    const [status] = decision.disks;
    assert.equal(status?.phase, "Away");
    assert.match(status.reason, new RegExp(`is ${state}: why`));
    assert.deepEqual([...decision.memory.awaySince], [[older.id, 0]]);
  }
});

test("a disk that somebody injected without the agent counts as injected by hand, one of a folder of ours does not", () => {
  const images = [record(web, d1, { from: "disk", disk: older.id })];
  const from = (source: string) => inShort(decideOn({ images, injected: [diskStatus(older, { source })] }));
  assert.deepEqual(from("/root/mine.erofs"), [`adopt ${older.id}`]);
  assert.deepEqual(from("/var/lib/nodewarm/disks/a.erofs"), []);
});

test("a disk injected by hand is injected again after a reboot, from where it was", () => {
  const byHand = { [older.id]: { path: "/root/mine.erofs" } };
  const { actions } = decideOn({ record: { ...emptyRecord, byHand } });
  assert.deepEqual(
    actions.map((action) => (action.type === "inject" ? [action.disk, action.path] : action.type)),
    [[older.id, "/root/mine.erofs"]],
  );
});
