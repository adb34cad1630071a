import assert from "node:assert/strict";
import { test } from "node:test";
import { diskIdentity, diskStatus, foundDisk, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";
import { emptyRecord } from "../state/agent-state.ts";
import { desiredImages } from "./desired-images.ts";
import { listImages } from "./listed-images.ts";
import { type DiskFacts, usableDisks } from "./wanted-disks.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const older = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
const newer = diskIdentity("a", 2, { [web]: testDigest("web-2") });

function usable(found: readonly FoundDisk[], facts: Partial<DiskFacts> = {}) {
  return usableDisks({ found, injected: [], contents: new Map(), record: emptyRecord, inject: "All", ...facts });
}

function desired(found: readonly FoundDisk[], refs: readonly string[] = [], facts: Partial<DiskFacts> = {}) {
  const listed = listImages([imageSet("s", { images: refs.map((ref) => ({ ref })) })], {}).images;
  const disks = usable(found, facts);
  const untold = {
    told: new Map(),
    isWarm: () => false,
    isStuck: () => false,
    isMissing: () => false,
    isGiving: () => true,
  };
  return desiredImages({ listed, disks, injected: facts.injected ?? [], images: [], tags: {}, ...untold }).map(
    ({ name, wanted, disks }) => [name, wanted?.digest, disks.map(({ id }) => id)],
  );
}

test("every image of a trusted disk is desired", () => {
  assert.deepEqual(desired([foundDisk(older)]), [
    [web, testDigest("web-1"), [older.id]],
    [db, testDigest("db-1"), [older.id]],
  ]);
});

test("with Listed only the listed images of a disk are", () => {
  assert.deepEqual(desired([foundDisk(older)], ["db:1"], { inject: "Listed" }), [[db, testDigest("db-1"), [older.id]]]);
});

test("a disk that a newer one of its line replaces serves only what is listed and nowhere else", () => {
  const found = [foundDisk(older), foundDisk(newer)];
  assert.deepEqual(desired(found), [[web, testDigest("web-2"), [newer.id]]]);
  assert.deepEqual(desired(found, ["db:1"]), [
    [db, testDigest("db-1"), [older.id]],
    [web, testDigest("web-2"), [newer.id]],
  ]);
});

test("a disk of the same line that another entry lets in replaces nothing", () => {
  const disks = usable([foundDisk(older), foundDisk(newer, { trustEntry: "other", kind: "device" })]);
  assert.deepEqual(
    disks.map(({ replacedBy }) => replacedBy),
    [undefined, undefined],
  );
});

test("a hostile device with the line and the highest sequence changes nothing", () => {
  const hostile = diskIdentity("a", 1e9, { [web]: testDigest("evil"), [db]: testDigest("evil") });
  for (const state of ["refused", "checking", "broken"] as const) {
    const found = [foundDisk(older), foundDisk(hostile, { path: "/dev/sdz", kind: "device", state, trustEntry: "" })];
    assert.deepEqual(desired(found, ["web:1"]), desired([foundDisk(older)], ["web:1"]));
  }
});

test("a held disk is not wanted", () => {
  const record = { ...emptyRecord, holds: [older.id] };
  assert.deepEqual(desired([foundDisk(older)], [], { record }), []);
});

test("a disk injected by hand is wanted whole, from anywhere, until it is ejected", () => {
  const record = { ...emptyRecord, byHand: { [older.id]: { path: "/root/old.erofs" } } };
  const injected = [diskStatus(older, { source: "/root/old.erofs" })];
  const all = [web, db];
  assert.deepEqual(
    desired([], [], { record, injected, inject: "Listed" }).map(([name]) => name),
    all,
  );
  assert.deepEqual(desired([], [], { injected }), [], "it is not, without the wish of a person");
  const disks = usable([foundDisk(older), foundDisk(newer)], { record, injected });
  assert.equal(disks.find(({ id }) => id === older.id)?.isWhole, true, "although a newer one is there");
});

test("of copies of one disk, that counts which the runtime uses", () => {
  const copy = foundDisk(older, { path: "/disks/copy.erofs" });
  const injected = [diskStatus(older, { source: copy.path })];
  assert.deepEqual(
    usable([foundDisk(older), copy], { injected }).map(({ path }) => path),
    [copy.path],
  );
  assert.equal(usable([foundDisk(older), copy]).length, 1);
});

test("disks of other lines are compared by their time, then by id", () => {
  const late = { ...diskIdentity("b", 1, { [web]: testDigest("late") }), createdSeconds: 2e9 };
  assert.deepEqual(desired([foundDisk(older), foundDisk(late)])[0], [web, testDigest("late"), [late.id]]);
});

test("a name on a disk that is no reference stands for nothing", () => {
  const strange = diskIdentity("a", 1, { "Not A Name": testDigest("x"), [web]: testDigest("y") });
  assert.deepEqual(
    desired([foundDisk(strange)]).map(([name]) => name),
    [web],
  );
});

test("an injected disk whose file is verified again is as present as before", () => {
  const found = [foundDisk(older), foundDisk(newer, { state: "checking" })];
  const injected = [diskStatus(older), diskStatus(newer)];
  assert.deepEqual(desired(found, [], { injected }), [[web, testDigest("web-2"), [newer.id]]]);
  assert.equal(usable(found, { injected })[0]?.isChecking, true);
  const [, ...names] = desired(found);
  assert.deepEqual(names, [[db, testDigest("db-1"), [older.id]]], "one that was never injected waits for its verdict");
  const elsewhere = foundDisk(newer, { state: "checking", path: "/disks/copy.erofs" });
  assert.deepEqual(usable([elsewhere], { injected }), []);
});

test("of a disk injected by hand in part, the images that were named are wanted, also with Listed", () => {
  const byHand = (images?: readonly string[]) => ({
    inject: "Listed" as const,
    record: { ...emptyRecord, byHand: { [older.id]: { path: "/disks/a-1.erofs", ...(images && { images }) } } },
  });
  assert.deepEqual(desired([foundDisk(older)], [], byHand([db])), [[db, testDigest("db-1"), [older.id]]]);
  assert.equal(desired([foundDisk(older)], [], byHand()).length, 2);
  const elsewhere = { ...byHand([db]), injected: [diskStatus(older)] };
  assert.deepEqual(desired([], [], elsewhere), [[db, testDigest("db-1"), [older.id]]]);
});
