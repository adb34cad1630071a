import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { foldTree } from "./folded-tree.ts";
import type { LayerTree } from "./layer-tree.ts";

type Seeds = {
  readonly bytes: readonly number[];
  readonly words: readonly number[];
  readonly floats: readonly number[];
};

/** A tree whose columns repeat what is given up to `length`: folding knows nothing of what they mean. */
function treeOf(length: number, { bytes, words, floats }: Seeds): LayerTree {
  const repeated = (seeds: readonly number[]) => (_: unknown, i: number) => seeds[i % seeds.length];
  const bytesOf = (count: number) => Uint8Array.from({ length: count }, repeated(bytes));
  const wordsOf = (count: number) => Uint32Array.from({ length: count }, repeated(words));
  return {
    entryCount: length,
    names: bytesOf(3 * length),
    nameEnds: wordsOf(length),
    entryInode: Uint32Array.from({ length }, (_, i) => i),
    inodeCount: length,
    directoryCount: 1,
    firstChild: wordsOf(2),
    attribute: Uint16Array.from({ length }, repeated(bytes)),
    attributes: [{ mode: 0o40755, uid: 1, gid: 2, xattrs: [] }],
    mtimeSeconds: Float64Array.from({ length }, repeated(floats)),
    mtimeNanoseconds: wordsOf(length),
    linkCount: bytesOf(length),
    payload: wordsOf(length),
    targets: new Uint8Array(0),
    targetEnds: new Uint32Array(0),
    impliedDirectoryCount: 0,
    whiteouts: "kept",
  };
}

const seeds = fc.record({
  bytes: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 50 }),
  words: fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 1, maxLength: 50 }),
  floats: fc.array(fc.integer({ min: 0, max: 2 ** 53 - 1 }), { minLength: 1, maxLength: 50 }),
});

test("a tree comes back as it was, whatever its columns hold", () => {
  fc.assert(
    fc.property(fc.constantFrom(1, 4095, 4096, 10_000), seeds, (length, given) => {
      const unfold = foldTree(treeOf(length, given));
      assert.deepEqual(unfold(), treeOf(length, given));
    }),
    { numRuns: 40 },
  );
});

test("the memory of a folded tree is free at once", () => {
  const tree = treeOf(100_000, { bytes: [1, 2, 3], words: [7, 4, 0xffff_ffff], floats: [0] });
  const names = tree.names;
  const payload = tree.payload;
  foldTree(tree);
  assert.equal(names.buffer.byteLength, 0);
  assert.equal(payload.length, 0);
});

test("columns that share a buffer come back as well", () => {
  const squares = Uint32Array.from({ length: 10_000 }, (_, i) => i * i);
  const tree = (all: Uint32Array): LayerTree => ({
    ...treeOf(5000, { bytes: [9, 8], words: [5, 6, 7], floats: [1] }),
    nameEnds: all.subarray(0, 5000),
    payload: all.subarray(5000),
  });
  const unfolded = foldTree(tree(squares.slice()))();
  assert.deepEqual(unfolded, tree(squares));
});
