import assert from "node:assert/strict";
import { test } from "node:test";
import { GrowingArray } from "./growing.ts";

const mebibyte = 1 << 20;

test("an array keeps what was added while it grows, up to its maximum", () => {
  const array = new GrowingArray<Uint32Array<ArrayBuffer>>(Uint32Array, 100_000);
  for (let i = 0; i < 100_000; i++) assert.equal(array.push(i * 3), i);
  assert.ok(array.items.subarray(0, array.length).every((value, i) => value === i * 3));
});

test("runs of bytes stand one after the other", () => {
  const array = new GrowingArray<Uint8Array<ArrayBuffer>>(Uint8Array, 1000);
  assert.equal(array.append(Buffer.from("one")), 0);
  assert.equal(array.append(Buffer.from("two")), 3);
  assert.equal(Buffer.from(array.items.subarray(0, array.length)).toString(), "onetwo");
});

test("what is freed goes back to the system at once, and may be freed again", () => {
  const array = new GrowingArray<Uint8Array<ArrayBuffer>>(Uint8Array, 128 * mebibyte);
  const piece = new Uint8Array(mebibyte).fill(1);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 128; i++) array.append(piece);
  assert.ok(process.memoryUsage.rss() > before + 100 * mebibyte);
  array.free();
  assert.ok(process.memoryUsage.rss() < before + 50 * mebibyte);
  assert.equal(array.length, 0);
  array.free();
});
