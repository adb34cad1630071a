import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { copyBytes } from "./copy-bytes.ts";

const memories = [ArrayBuffer, SharedArrayBuffer];

test("bytes arrive whole and nothing beside them changes, whatever the length, the alignment and the memory", () => {
  const random = randomBytes(5000);
  for (const From of memories) {
    for (const To of memories) {
      for (const length of [0, 1, 2, 255, 256, 257, 258, 4096, 4999]) {
        for (const [from, at] of [
          [0, 0],
          [1, 0],
          [0, 3],
          [1, 8],
        ] as const) {
          const bytes = new Uint8Array(new From(6000)).subarray(from, from + length);
          bytes.set(random.subarray(0, length));
          const target = new Uint8Array(new To(5100)).fill(7);
          copyBytes(target, bytes, at);
          const expected = new Uint8Array(5100).fill(7);
          expected.set(random.subarray(0, length), at);
          assert.deepEqual(Buffer.from(target), Buffer.from(expected), `${length} bytes from ${from} to ${at}`);
        }
      }
    }
  }
});

test("what has no room is not copied in part", () => {
  for (const length of [2, 1000]) {
    const target = new Uint8Array(length);
    assert.throws(() => copyBytes(target, new Uint8Array(length).fill(1), 1), RangeError);
    assert.deepEqual(target, new Uint8Array(length));
  }
});
