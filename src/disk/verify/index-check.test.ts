import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemList } from "../../filesystem/erofs/checker/problem-list.ts";
import type { DiskIndex } from "../reader/disk-index.ts";
import { checkIndex } from "./index-check.ts";

const digest = `sha256:${"0".repeat(64)}` as const;
const descriptor = { mediaType: "text/plain", digest, size: 1 };

function indexOf(layerCount: number): DiskIndex {
  const layers = Array.from({ length: layerCount }, (_, i) => ({
    ...descriptor,
    diffID: digest,
    chainID: digest,
    tree: `layers/${i.toString(16).padStart(64, "0")}`,
    impliedDirectories: [1],
  }));
  const platform = { os: "linux", architecture: "amd64" };
  const image = {
    names: [],
    target: descriptor,
    manifest: descriptor,
    config: descriptor,
    platform,
    tree: null,
    layers,
  };
  return {
    formatVersion: "1.0",
    id: "0".repeat(64),
    line: "",
    sequence: 0,
    created: "2024-01-01T00:00:00Z",
    builder: "",
    platform,
    blobs: false,
    erofsCache: false,
    images: [image],
  };
}

test("an image with more layers than can be looked at is one problem, and nothing of it is expected", () => {
  const problems = new ProblemList();
  const expected = checkIndex(indexOf(100_000), problems);
  assert.deepEqual(
    problems.problems.map(({ message }) => message),
    ["has 100000 layers; more than 5000 are not looked at"],
  );
  assert.deepEqual([expected.layers.size, expected.merged.size], [0, 0]);
});

test("layers with implied directories know what is below them by one list for the image", () => {
  const { layers } = checkIndex(indexOf(4000), new ProblemList());
  const all = [...layers.values()];
  assert.equal(all.length, 4000);
  assert.equal(new Set(all.map(({ stack }) => stack)).size, 1);
  assert.deepEqual(
    all.map(({ height }) => height),
    all.map((_, i) => i),
  );
});
