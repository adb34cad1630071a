import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RangeSet } from "./range-set.ts";

const sizeBytes = 60;
const span = fc.tuple(fc.nat(sizeBytes), fc.nat(sizeBytes)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

test("a set of ranges holds what was added, and knows what is missing", () => {
  fc.assert(
    fc.property(fc.array(span, { maxLength: 12 }), fc.integer({ min: 1, max: 20 }), (spans, mostBytes) => {
      const set = new RangeSet();
      const model = new Set<number>();
      for (const [start, end] of spans) {
        const before = model.size;
        const added = set.add(start, end);
        for (let byte = start; byte < end; byte++) model.add(byte);
        assert.equal(added, model.size - before);
      }
      assert.equal(set.totalBytes, model.size);
      let prefix = 0;
      while (model.has(prefix)) prefix++;
      assert.equal(set.prefixBytes, prefix);
      const gaps = set.gaps(sizeBytes, mostBytes);
      assert.ok(gaps.every(({ length }) => length > 0 && length <= mostBytes));
      const missing = gaps.flatMap(({ offset, length }) => Array.from({ length }, (_, i) => offset + i));
      const expected = Array.from({ length: sizeBytes }, (_, byte) => byte).filter((byte) => !model.has(byte));
      assert.deepEqual(missing, expected);
      for (const [i, { start, end }] of set.spans.entries()) {
        assert.ok(start < end);
        assert.ok(i === 0 || (set.spans[i - 1]?.end ?? 0) < start, "no two touch");
      }
    }),
  );
});

test("a set of ranges that was cleared is empty", () => {
  const set = new RangeSet();
  set.add(0, 10);
  set.clear();
  assert.deepEqual([set.totalBytes, set.prefixBytes, set.gaps(4, 10)], [0, 0, [{ offset: 0, length: 4 }]]);
});
