import assert from "node:assert/strict";
import { test } from "node:test";
import { median, spread } from "./statistics.ts";

test("the median is the middle value, or between the two middle ones", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([10, 1, 2, 4]), 3);
  assert.equal(median([7]), 7);
  assert.throws(() => median([]));
});

test("one slow run moves the spread and not the median", () => {
  assert.equal(median([10, 10, 10, 10, 90]), 10);
  assert.equal(spread([10, 10, 10, 10, 90]), 4);
  assert.equal(spread([8, 10, 12]), 0.2);
  assert.equal(spread([0, 0]), 0);
});
