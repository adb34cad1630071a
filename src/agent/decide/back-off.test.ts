import assert from "node:assert/strict";
import { test } from "node:test";
import { failureDelayMs, keepsDisappearing, restoreAtMs } from "./back-off.ts";

const lost = (...lostAtMs: number[]) => ({
  digest: undefined,
  isWarm: false,
  lostAtMs,
  disappearances: lostAtMs.length,
});

test("the wait after failures doubles from a second to five minutes", () => {
  assert.deepEqual([1, 2, 3, 9, 10, 1000].map(failureDelayMs), [1000, 2000, 4000, 256_000, 300_000, 300_000]);
});

test("five deletions within five minutes are undone at once, further ones later and later", () => {
  assert.equal(restoreAtMs(undefined, 0), 0);
  assert.equal(restoreAtMs(lost(1, 2, 3, 4, 5), 5), 0);
  assert.equal(restoreAtMs(lost(1, 2, 3, 4, 5, 6), 6), 1006);
  assert.equal(restoreAtMs(lost(1, 2, 3, 4, 5, 6, 7), 7), 2007);
  assert.equal(restoreAtMs(lost(1, 2, 3, 4, 5, 6), 300_001), 0, "older ones do not count");
});

test("three deletions within an hour are worth telling", () => {
  assert.equal(keepsDisappearing(lost(1, 2)), false);
  assert.equal(keepsDisappearing(lost(1, 2, 3)), true);
});
