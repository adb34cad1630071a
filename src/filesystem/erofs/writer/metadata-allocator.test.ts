import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { blockBytes } from "../constants.ts";
import { MetadataAllocator } from "./metadata-allocator.ts";

type Request =
  | { readonly kind: "packed"; readonly bytes: number }
  | { readonly kind: "next"; readonly bytes: number; readonly together: number }
  | { readonly kind: "blocks"; readonly count: number };

const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({ kind: fc.constant("packed" as const), bytes: fc.integer({ min: 64, max: blockBytes }) }),
  fc
    .record({
      kind: fc.constant("next" as const),
      bytes: fc.integer({ min: 64, max: 20_000 }),
      share: fc.integer({ min: 0, max: 100 }),
    })
    .map(({ kind, bytes, share }) => ({
      kind,
      bytes,
      together: Math.min(bytes, 64 + Math.floor(((blockBytes - 64) * share) / 100)),
    })),
  fc.record({ kind: fc.constant("blocks" as const), count: fc.integer({ min: 1, max: 5 }) }),
);

function place(allocator: MetadataAllocator, wanted: Request): { start: number; end: number; together: number } {
  switch (wanted.kind) {
    case "packed": {
      const start = allocator.packed(wanted.bytes);
      return { start, end: start + wanted.bytes, together: wanted.bytes };
    }
    case "next": {
      const start = allocator.next(wanted.bytes, wanted.together);
      return { start, end: start + wanted.bytes, together: wanted.together };
    }
    case "blocks": {
      const start = allocator.blocks(wanted.count);
      return { start, end: start + wanted.count * blockBytes, together: 0 };
    }
  }
}

test("places never overlap, lie within the area, on slots, and what must stay together never crosses a block", () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 200 }), (requests) => {
      const allocator = new MetadataAllocator();
      const places = requests.map((wanted) => place(allocator, wanted)).sort((a, b) => a.start - b.start);
      let end = 0;
      for (const { start, end: placeEnd, together } of places) {
        assert.ok(start >= end, `${start} begins before ${end}`);
        assert.equal(start % 32, 0);
        if (together > 0) assert.equal(Math.floor(start / blockBytes), Math.floor((start + together - 1) / blockBytes));
        end = placeEnd;
      }
      assert.ok(end <= allocator.blockCount * blockBytes);
    }),
  );
});

test("the first place is not NID 0 and small enough for a root", () => {
  const position = new MetadataAllocator().packed(200);
  assert.ok(position > 0 && position / 32 <= 0xffff);
});

test("small directories fill at least nine tenths of their blocks", () => {
  const allocator = new MetadataAllocator();
  let bytes = 0;
  for (let i = 0; i < 10_000; i++) {
    const size = 96 + ((i * 7919) % 700);
    bytes += size;
    allocator.packed(size);
  }
  assert.ok(bytes / (allocator.blockCount * blockBytes) > 0.9);
});
