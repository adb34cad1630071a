import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { checkTree } from "../../../test/support/check-layer-tree.ts";
import { readTar } from "../../../test/support/layer-reading.ts";
import { device, directory, file, hardLink, symbolicLink, tar, whiteout } from "../../../test/support/tar-maker.ts";

const name = fc.oneof(
  fc.constantFrom("a", "b", "B", "aa", "a.b", "ä", "~", "0"),
  fc.uint8Array({ minLength: 1, maxLength: 3 }).map((bytes) => Buffer.from(bytes).toString("hex")),
);
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const record = fc.oneof(
  fc.tuple(path, fc.constantFrom("", "one", "two", "three")).map(([at, data]) => file(at, data)),
  path.map((at) => directory(at)),
  fc.tuple(path, path).map(([at, target]) => symbolicLink(at, `/nowhere/${target}`)),
  path.map((at) => device(at, "3", 1, 3)),
  path.map((at) => whiteout(at)),
  fc.tuple(path, path).map(([at, target]) => hardLink(at, target)),
);

describe("sealLayer", () => {
  it("keeps the order of LayerTree, whatever the tar does", async () => {
    let read = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 25 }), async (records) => {
        // Entries that are refused are left out, one after the other, so that long archives remain.
        const kept: Buffer[] = [];
        for (const next of records) {
          try {
            await readTar(tar(...kept, next));
            kept.push(next);
          } catch (error) {
            assert.equal((error as { code?: string }).code, "refused-entry");
          }
        }
        const result = await readTar(tar(...kept));
        checkTree(result.tree, result.contentCount);
        read += result.tree.entryCount;
      }),
      { numRuns: 60 },
    );
    assert.ok(read > 60);
  });

  it("is the same for the same entries in another order", async () => {
    const records = Array.from({ length: 40 }, (_, i) => file(`d${i % 7}/f${i}`, "", { mtime: i }));
    const one = await readTar(tar(...records));
    const other = await readTar(tar(...records.toReversed()));
    assert.deepEqual(other.tree, one.tree);
  });

  it("orders files by the first appearance of their content", async () => {
    const { tree } = await readTar(tar(file("z", "first"), file("a", "second"), file("m", "first"), file("b")));
    const inodeOf = new Map<string, number>();
    for (let i = 1; i < tree.entryCount; i++)
      inodeOf.set(
        Buffer.from(tree.names.subarray(tree.nameEnds[i - 1], tree.nameEnds[i])).toString(),
        tree.entryInode[i] as number,
      );
    assert.deepEqual(
      [...inodeOf].sort((x, y) => x[1] - y[1]).map(([key]) => key),
      ["b", "m", "z", "a"],
    );
  });

  it("counts implied directories and subdirectories", async () => {
    const { tree } = await readTar(tar(file("a/b/c"), directory("a/d"), directory("e")));
    assert.equal(tree.impliedDirectoryCount, 2);
    assert.equal(tree.linkCount[0], 4);
  });

  it("holds a directory of 100,000 entries in random order", async () => {
    const records = Array.from({ length: 100_000 }, (_, i) => file(`d/${(i * 7919) % 100_000}`));
    const result = await readTar(tar(...records));
    checkTree(result.tree, result.contentCount);
    assert.equal(result.tree.entryCount, 100_002);
  });
});
