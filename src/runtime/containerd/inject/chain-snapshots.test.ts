import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { chainIDs } from "../../../disk/build/chain.ts";
import type { IndexLayer } from "../../../disk/reader/disk-index.ts";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { emptyName } from "../ownership.ts";
import { chainEnds, chainSnapshots } from "./chain-snapshots.ts";

const digest = (text: string): Digest => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** Layers by letters, with the paths that a disk gives them. */
function stackOf(letters: string): IndexLayer[] {
  const diffIDs = [...letters].map(digest);
  const names = chainIDs(diffIDs);
  return diffIDs.map((diffID, i) => ({
    ...{ mediaType: "any", digest: diffID, size: 1, diffID, tree: `layers/${digestHex(diffID)}` },
    chainID: names[i] ?? diffID,
  }));
}

const nameOf = (letters: string) => chainIDs([...letters].map(digest)).at(-1) ?? emptyName;

/** The letters of a snapshot's lower directories, bottom first. */
function lowers(letters: string, name: string): string {
  const snapshots = new Map(chainSnapshots(stackOf(letters)).map((each) => [each.name as string, each]));
  const found = snapshots.get(name);
  if (found === undefined) return "";
  const letter = [...letters].find((each) => found.tree === `layers/${digestHex(digest(each))}`) ?? "?";
  return lowers(letters, found.parent) + letter;
}

test("a chain is one snapshot for each layer below the top", () => {
  assert.deepEqual(
    chainSnapshots(stackOf("abcd")).map(({ name, parent }) => [name, parent]),
    [
      [nameOf("a"), emptyName],
      [nameOf("ab"), nameOf("a")],
      [nameOf("abc"), nameOf("ab")],
    ],
  );
  assert.deepEqual(chainEnds(stackOf("abcd")), [nameOf("abc")]);
  assert.deepEqual([chainSnapshots(stackOf("a")), chainEnds(stackOf("")), chainEnds(stackOf("a"))], [[], [], []]);
});

test("a layer that comes again stands on the stack without it, which is there under its true name", () => {
  assert.deepEqual(
    chainSnapshots(stackOf("abcbx")).map(({ name, parent }) => [name, parent]),
    [
      [nameOf("a"), emptyName],
      [nameOf("ab"), nameOf("a")],
      [nameOf("abc"), nameOf("ab")],
      [nameOf("ac"), nameOf("a")],
      [nameOf("abcb"), nameOf("ac")],
    ],
  );
  assert.deepEqual(chainEnds(stackOf("abcbx")), [nameOf("abc"), nameOf("abcb")]);
});

test("whatever comes again, every chainID is there, with each layer once and the last one of each on top", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c", "d"), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(letters, (text) => {
      for (let i = 1; i < text.length; i++) {
        const below = text.slice(0, i);
        const distinct = [...below].filter((letter, at) => below.lastIndexOf(letter) === at).join("");
        const found = lowers(text, nameOf(below));
        // Very many repetitions end the chain.
        if (found !== "" || text.length < 5) assert.equal(found, distinct, below);
      }
    }),
  );
});

test("parents come first, and no name twice", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(..."abcdefgh"), { maxLength: 40 }), (letters) => {
      const layers = stackOf(letters.join(""));
      const seen = new Set<string>([emptyName]);
      for (const { name, parent } of chainSnapshots(layers)) {
        assert.ok(seen.has(parent) && !seen.has(name));
        seen.add(name);
      }
      assert.ok(seen.size <= 3 * layers.length + 2);
    }),
  );
});

test("where a tree depends on what was below, the chain ends before the layer that comes again", () => {
  const layers = stackOf("abcbx").map((layer, i) => (i === 2 ? { ...layer, tree: `layers/${"0".repeat(64)}` } : layer));
  assert.deepEqual(
    chainSnapshots(layers).map(({ name }) => name),
    [nameOf("a"), nameOf("ab"), nameOf("abc")],
  );
});
