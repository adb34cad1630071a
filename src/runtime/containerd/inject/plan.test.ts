import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskIndex, IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import type { Image } from "../client/images.ts";
import type { Snapshot } from "../client/snapshots.ts";
import type { OwnedState } from "../owned-state.ts";
import { carrierName, emptyName, label } from "../ownership.ts";
import { isChainComplete, planChains, planImage, recordNames } from "./plan.ts";

const digest = (name: string): Digest => `sha256:${Buffer.from(name.padEnd(32, ".")).toString("hex")}`;
const descriptor = (name: string) => ({ mediaType: "any", digest: digest(name), size: 1 });

/** An image whose chainIDs and trees are named by the letters of its layers. */
function image(name: string, letters: string, tag = `example.com/${name}:v1`): IndexImage {
  const layers = [...letters].map((letter, i) => ({
    ...descriptor(`blob ${letter}`),
    diffID: digest(`diff ${letter}`),
    chainID: digest(letters.slice(0, i + 1)),
    tree: `layers/${letter}`,
  }));
  return {
    names: [tag],
    target: descriptor(`${name} manifest`),
    manifest: descriptor(`${name} manifest`),
    config: descriptor(`${name} config`),
    platform: { os: "linux", architecture: "amd64" },
    tree: letters === "" ? null : `images/${letters}`,
    layers,
  };
}

const disk: DiskIndex = {
  formatVersion: "1.0",
  id: "d".repeat(64),
  line: "base",
  sequence: 5,
  created: "2026-01-01T00:00:00Z",
  builder: "test",
  platform: { os: "linux", architecture: "amd64" },
  blobs: false,
  erofsCache: false,
  images: [],
};

function state(
  committed: readonly string[] = [],
  images: readonly Image[] = [],
  carriers: readonly Snapshot[] = [],
): OwnedState {
  const snapshots = committed.map((name) => snapshot(name, {}));
  return {
    snapshots: new Map([...snapshots, ...carriers].map((each) => [each.name, each])),
    owned: new Map(),
    unfinished: [],
    images: new Map(images.map((each) => [each.name, each])),
    copiedRecords: new Set(),
    blobs: [],
  };
}

function snapshot(name: string, labels: Record<string, string>): Snapshot {
  return { name, parent: "", kind: "committed", labels, createdAt: undefined };
}

function record(name: string, target: string, labels: Record<string, string> = {}): Image {
  return { name, target: descriptor(target), labels, createdAt: undefined, updatedAt: undefined };
}

const options = { namespace: "k8s.io", force: false };

test("a new image gets one snapshot over the empty one, and all names with the tag last", () => {
  const app = image("app", "abc");
  const plan = planImage(disk, app, state(), options);
  assert.deepEqual(plan.top, { name: digest("abc"), parent: emptyName, role: "image", tree: "images/abc" });
  assert.deepEqual(
    plan.records.map(({ name, action }) => [name, action]),
    [
      [app.config.digest, "create"],
      [`example.com/app@${app.target.digest}`, "create"],
      ["example.com/app:v1", "create"],
    ],
  );
});

test("what is there is left alone", () => {
  const app = image("app", "abc");
  const names = recordNames(app, "k8s.io");
  const plan = planImage(
    disk,
    app,
    state(
      [digest("abc")],
      names.map((name) => record(name, "app manifest")),
    ),
    options,
  );
  assert.deepEqual([plan.isComplete, plan.top, plan.records, plan.conditions], [true, undefined, [], []]);
});

test("Docker gets the tags alone", () => {
  assert.deepEqual(recordNames(image("app", "a"), "moby"), ["example.com/app:v1"]);
});

test("a registry's port is no tag", () => {
  const names = recordNames(image("app", "a", "localhost:5000/app@sha256:0"), "k8s.io");
  assert.deepEqual(names.slice(1), ["localhost:5000/app@sha256:0"]);
  const tagged = image("app", "a", "localhost:5000/team/app:v2");
  assert.equal(recordNames(tagged, "k8s.io")[1], `localhost:5000/team/app@${tagged.target.digest}`);
});

test("a tag that somebody else has set is kept and told, unless forced", () => {
  const app = image("app", "a");
  const tagged = state([], [record("example.com/app:v1", "other")]);
  const kept = planImage(disk, app, tagged, options);
  assert.deepEqual(
    kept.conditions.map(({ type }) => type),
    ["TagKept"],
  );
  assert.ok(kept.records.every(({ name }) => name !== "example.com/app:v1"));
  const moved = planImage(disk, app, tagged, { ...options, force: true });
  assert.deepEqual(moved.records.at(-1), { name: "example.com/app:v1", action: "move" });
  assert.deepEqual(moved.conditions, []);
});

test("a tag that an older disk of the line has set is moved, one of a newer disk is not", () => {
  const app = image("app", "a");
  const before = (line: string, sequence: string) =>
    state(
      [],
      [record("example.com/app:v1", "other", { [label.disk]: "old" })],
      [snapshot(carrierName("old"), { [label.line]: line, [label.sequence]: sequence })],
    );
  assert.deepEqual(planImage(disk, app, before("base", "4"), options).conditions, []);
  assert.deepEqual(planImage(disk, app, before("other", "9"), options).conditions, []);
  const [condition] = planImage(disk, app, before("base", "6"), options).conditions;
  assert.equal(condition?.type, "TagKept");
});

test("a tag that disks of two lines have stays with the one that was injected last, however often the other is", () => {
  const app = image("app", "a");
  const [id = "", byDigest = "", tag = ""] = recordNames(app, "k8s.io");
  const ofOther = record(tag, "other", { [label.disk]: "old" });
  const carrier = snapshot(carrierName("old"), { [label.line]: "other", [label.sequence]: "9" });
  const ours = [id, byDigest].map((name) => record(name, "app manifest", { [label.disk]: disk.id }));
  const again = planImage(disk, app, state([digest("a")], [...ours, ofOther], [carrier]), options);
  assert.deepEqual([again.isComplete, again.conditions.map(({ type }) => type)], [true, ["TagKept"]]);
  // A call that was killed before it came to its last names goes on.
  const goesOn = planImage(
    disk,
    app,
    state(
      [digest("a")],
      [ours[0], ofOther].flatMap((each) => each ?? []),
      [carrier],
    ),
    options,
  );
  assert.deepEqual(goesOn.records.map(({ action }) => action).sort(), ["create", "move"]);
  const gone = planImage(disk, app, state([digest("a")], [...ours, ofOther]), options);
  assert.deepEqual(gone.records, [{ name: tag, action: "move" }], "the other disk has been ejected");
});

test("an image whose documents are gone is made again, though all its records are there", () => {
  const app = image("app", "abc");
  const records = recordNames(app, "k8s.io").map((name) => record(name, "app manifest"));
  const plan = planImage(disk, app, state([digest("abc")], records), { ...options, lacksDocuments: true });
  assert.deepEqual([plan.isComplete, plan.top?.name, plan.records], [false, digest("abc"), []]);
});

test("chains are made level by level, each snapshot once", () => {
  const levels = planChains([image("one", "abcd"), image("two", "abx"), image("three", "q")], state());
  assert.deepEqual(
    levels.map((level) => level.map(({ name, parent, tree }) => [name, parent, tree])),
    [
      [[digest("a"), emptyName, "layers/a"]],
      [[digest("ab"), digest("a"), "layers/b"]],
      [[digest("abc"), digest("ab"), "layers/c"]],
    ],
  );
});

test("a chain goes on where it stopped", () => {
  const app = image("app", "abcd");
  assert.deepEqual(
    planChains([app], state([digest("a"), digest("ab")]))
      .flat()
      .map(({ tree }) => tree),
    ["layers/c"],
  );
  assert.equal(isChainComplete(app, state([digest("a"), digest("ab")]), false), false);
  assert.equal(isChainComplete(app, state(["a", "ab", "abc"].map(digest)), false), true);
});

test("a chain ends before a layer that it has already, where the stack without that cannot be named", () => {
  assert.deepEqual(
    planChains([image("app", "abac")], state())
      .flat()
      .map(({ tree }) => tree),
    ["layers/a", "layers/b"],
  );
});

test("an image without layers needs no snapshot", () => {
  const empty = image("empty", "");
  assert.equal(planImage(disk, empty, state(), options).top, undefined);
  assert.equal(isChainComplete(empty, state(), false), true);
});
