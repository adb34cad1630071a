import assert from "node:assert/strict";
import { test } from "node:test";
import { median, percentile, spread } from "./statistics.ts";

test("the median is the middle value, or between the two middle ones", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([10, 1, 2, 4]), 3);
  assert.equal(median([7]), 7);
  assert.throws(() => median([]));
});

test("a percentile is a value that there is, and that so many do not exceed", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(percentile(hundred, 99), 99);
  assert.equal(percentile(hundred, 100), 100);
  assert.equal(percentile([5, 1, 3], 50), 3);
  assert.equal(percentile([5], 1), 5);
  assert.throws(() => percentile([], 50));
});

test("one slow run moves the spread and not the median", () => {
  assert.equal(median([10, 10, 10, 10, 90]), 10);
  assert.equal(spread([10, 10, 10, 10, 90]), 4);
  assert.equal(spread([8, 10, 12]), 0.2);
  assert.equal(spread([0, 0]), 0);
});
