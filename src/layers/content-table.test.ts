import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { describe, it } from "node:test";
import { ContentTable } from "./content-table.ts";

const digestOf = (i: number) => hash("sha256", String(i), "buffer");

describe("ContentTable", () => {
  it("numbers contents in the order of their first addition", () => {
    const table = new ContentTable();
    assert.equal(table.add(digestOf(1), 10), 0);
    assert.equal(table.add(digestOf(2), 10), 1);
    assert.equal(table.add(digestOf(1), 10), 0);
    assert.equal(table.length, 2);
  });

  it("tells contents of one digest and different sizes apart", () => {
    const table = new ContentTable();
    assert.equal(table.add(digestOf(1), 10), 0);
    assert.equal(table.find(digestOf(1), 11), undefined);
    assert.equal(table.add(digestOf(1), 11), 1);
  });

  it("keeps every content while it grows, also where digests share their start", () => {
    const table = new ContentTable();
    const digests = Array.from({ length: 40_000 }, (_, i) => {
      const digest = digestOf(i);
      if (i % 10 === 0) digest.fill(0, 0, 4);
      return digest;
    });
    for (const [i, digest] of digests.entries()) assert.equal(table.add(digest, i), i);
    for (const [i, digest] of digests.entries()) {
      assert.equal(table.find(digest, i), i);
      assert.ok(digest.equals(table.digest(i)));
      assert.equal(table.size(i), i);
    }
  });

  it("copies digests", () => {
    const table = new ContentTable();
    const digest = digestOf(1);
    table.add(digest, 1);
    digest.fill(0);
    assert.equal(table.find(digestOf(1), 1), 0);
  });

  it("refuses digests of another length and numbers it does not have", () => {
    const table = new ContentTable();
    assert.throws(() => table.add(Buffer.alloc(20), 1), RangeError);
    assert.throws(() => table.digest(0), RangeError);
    assert.throws(() => table.size(0), RangeError);
  });

  it("still tells digests and sizes once it is sealed, and takes no more", () => {
    const table = new ContentTable();
    for (let i = 0; i < 5000; i++) table.add(digestOf(i), i);
    table.seal();
    assert.ok(digestOf(4999).equals(table.digest(4999)));
    assert.equal(table.size(4999), 4999);
    assert.throws(() => table.find(digestOf(1), 1), /sealed/);
    assert.throws(() => table.add(digestOf(9999), 1), /sealed/);
  });
});
