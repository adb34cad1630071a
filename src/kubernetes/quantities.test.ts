import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, quantityBytes } from "./quantities.ts";

test("durations add up over their units", () => {
  assert.equal(durationMs("1h30m"), 5_400_000);
  assert.equal(durationMs("1.5s"), 1500);
  assert.equal(durationMs("250ms"), 250);
});

test("sizes know powers of 1000 and of 1024", () => {
  assert.equal(quantityBytes("50M"), 50e6);
  assert.equal(quantityBytes("64Mi"), 64 << 20);
  assert.equal(quantityBytes("7"), 7);
});
