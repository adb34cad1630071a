import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskIndex, IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Digest } from "../../../oci/descriptor.ts";
import type { OwnedSnapshot, OwnedState } from "../owned-state.ts";
import { carrierName, label } from "../ownership.ts";
import { planHandOver } from "./hand-over.ts";
import type { PresentDisk } from "./places.ts";

const going = "a".repeat(64);
const staying = "b".repeat(64);

test("a snapshot moves to what stands for the same: merged trees to merged trees, layers to layers", () => {
  const state = stateOf(snapshot("image", 2), snapshot("layer", 1));
  // The other disk has both as what they are not.
  const other = disk([image([1]), image([1, 2, 3])]);
  const { snapshots } = planHandOver(factsOf(state), new Set([going]), [other]);
  assert.deepEqual(
    snapshots.map(({ snapshot, tree }) => [snapshot.role, snapshot.name, tree]),
    [["layer", chainID(1), layerTree(1)]],
  );
});

test("the first disk that can takes over", () => {
  const state = stateOf(snapshot("image", 2));
  const disks = [disk([image([1])], "c"), disk([image([1, 2])], "d"), disk([image([1, 2])], "e")];
  const { snapshots } = planHandOver(factsOf(state), new Set([going]), disks);
  assert.deepEqual(
    snapshots.map(({ to, tree }) => [to.id[0], tree]),
    [["d", mergedTree(2)]],
  );
});

test("where a tree is counts more than its label", () => {
  const state = stateOf(snapshot("image", 1, staying), snapshot("image", 2, staying), snapshot("image", 3, staying));
  const places = new Map([
    [chainID(1), { on: "disk", disk: going } as const],
    [chainID(2), { on: "disk", disk: staying } as const],
    [chainID(3), { on: "copy" } as const],
  ]);
  const other = disk([image([1]), image([1, 2]), image([1, 2, 3])]);
  const { snapshots } = planHandOver({ ...factsOf(state), places }, new Set([going]), [other]);
  assert.deepEqual(
    snapshots.map(({ snapshot }) => snapshot.name),
    [chainID(1)],
  );
});

test("records move with their names, and documents with their digests", () => {
  const target = { mediaType: "", digest: digest("target 12"), size: 1 };
  const record = (name: string, disk: string) =>
    [name, { name, target, labels: { [label.disk]: disk }, createdAt: undefined, updatedAt: undefined }] as const;
  const blob = (text: string) => ({
    digest: digest(text),
    sizeBytes: 1,
    labels: { [label.disk]: going },
    createdAt: undefined,
  });
  const state: OwnedState = {
    ...stateOf(),
    images: new Map([record("example.com/12:v1", going), record("example.com/other:v1", going), record("x", staying)]),
    blobs: [blob("config 12"), blob("config 99"), blob("layer 2")],
  };
  const blobLinks = state.blobs.slice(2).map(({ digest }) => ({ digest, disk: going }));
  const { records, blobs, links } = planHandOver({ ...factsOf(state), blobLinks }, new Set([going]), [
    disk([image([1, 2])]),
  ]);
  assert.deepEqual(
    records.map(({ name }) => name),
    ["example.com/12:v1"],
  );
  assert.deepEqual(
    [links, blobs].map((list) => list.map(({ digest }) => digest)),
    [[digest("layer 2")], [digest("layer 2"), digest("config 12")]],
  );
});

function factsOf(state: OwnedState) {
  const places = new Map([...state.owned.keys()].map((name) => [name, { on: "disk", disk: going } as const]));
  return { state, namespace: "k8s.io", places, blobLinks: [], layerLinks: [] };
}

function stateOf(...snapshots: readonly OwnedSnapshot[]): OwnedState {
  const owned = new Map(snapshots.map((each) => [each.name, each]));
  return { snapshots: new Map(), owned, unfinished: [], images: new Map(), copiedRecords: new Set(), blobs: [] };
}

function snapshot(role: "image" | "layer", top: number, disk = going): OwnedSnapshot {
  return { name: chainID(top), parent: "", role, disk, number: String(top), tree: "" };
}

function disk(images: readonly IndexImage[], letter = "b"): PresentDisk {
  const id = letter.repeat(64);
  const carrier = { ...snapshot("layer", 0, id), name: carrierName(id), role: "carrier" } as const;
  const platform = { os: "linux", architecture: "amd64" };
  const index: DiskIndex = {
    ...{ formatVersion: "1.0", id, line: "test", sequence: 1, created: "", builder: "", platform },
    ...{ blobs: true, erofsCache: false, images: [...images] },
  };
  return { id, carrier, index };
}

/** An image whose layers have these numbers; its chainIDs are those of the last number. */
function image(layers: readonly number[]): IndexImage {
  const name = layers.join("");
  const descriptor = (kind: string) => ({ mediaType: "", digest: digest(`${kind} ${name}`), size: 1 });
  return {
    names: [`example.com/${name}:v1`],
    target: descriptor("target"),
    manifest: descriptor("manifest"),
    config: descriptor("config"),
    platform: { os: "linux", architecture: "amd64" },
    tree: mergedTree(layers.at(-1) ?? 0),
    layers: layers.map((number) => ({
      ...{ diffID: digest(`diff ${number}`), chainID: chainID(number), mediaType: "", size: 1 },
      ...{ digest: digest(`layer ${number}`), tree: layerTree(number) },
    })),
  };
}

function chainID(number: number): Digest {
  return digest(`chain ${number}`);
}

function mergedTree(number: number): string {
  return `images/${number}`;
}

function layerTree(number: number): string {
  return `layers/${number}`;
}

function digest(text: string): Digest {
  return `sha256:${Buffer.from(text).toString("hex").padEnd(64, "0")}`;
}
