import assert from "node:assert/strict";
import { test } from "node:test";
import {
  allowedContents,
  allowedFrom,
  allowedLayerImages,
  allowedMetadata,
  allowedTemporary,
  mark,
} from "./targets.ts";

const mib = 1 << 20;
const gib = 1 << 30;

test("a figure at its limit meets it", () => {
  assert.equal(mark("wall", 0.6, 0.6).met, true);
  assert.equal(mark("wall", 0.61, 0.6).met, false);
});

test("metadata may take a fixed number of bytes and the name for each entry, and the padding", () => {
  const trees = {
    layers: { entries: 10, nameBytes: 100 },
    mergedDirectories: { entries: 2, nameBytes: 7 },
    mergedOthers: { entries: 5, nameBytes: 50 },
  };
  assert.equal(allowedMetadata(trees), mib + 10 * 120 + 100 + 2 * 160 + 7 + 5 * 24 + 50);
  assert.equal(allowedLayerImages(trees.layers, 1000), mib + 10 * 120 + 100 + 4100);
});

test("the temporary file may exceed a small disk by 1 GiB and a large one by a quarter", () => {
  assert.equal(allowedTemporary(gib), 2 * gib);
  assert.equal(allowedTemporary(8 * gib), 10 * gib);
});

test("contents may exceed their rounded sizes by 0.5 %, a build over an old disk its copy by 5 % of a full build", () => {
  assert.equal(allowedContents(200_000), 201_000);
  assert.equal(allowedFrom(100, 3), 8);
});
