import assert from "node:assert/strict";
import test from "node:test";
import { type LargeContent, LargeContentMatcher } from "./large-content.ts";

const mebibyte = 1 << 20;
const digest = (value: number): Uint8Array => new Uint8Array(32).fill(value);
const digests = (...values: number[]): Uint8Array => Uint8Array.from(values.flatMap((value) => [...digest(value)]));

function matcherWith(...known: number[][]): LargeContentMatcher {
  const matcher = new LargeContentMatcher(new Map<number, LargeContent>());
  known.forEach((values, content) => {
    matcher.add(content, values.length * mebibyte, digests(...values));
  });
  return matcher;
}

test("a content that begins like no other is written from its first chunk on", () => {
  const matcher = matcherWith([1, 2, 3]);
  matcher.begin(3 * mebibyte);
  assert.equal(matcher.chunk(digest(9)), undefined);
  assert.equal(matcher.isWriting, true);
});

test("a repeated content is never written", () => {
  const matcher = matcherWith([1, 2, 3], [1, 2, 4]);
  matcher.begin(3 * mebibyte);
  for (const value of [1, 2, 4]) assert.equal(matcher.chunk(digest(value)), undefined);
  assert.equal(matcher.end().isWriting, false);
});

test("a content that turns from the known ones in its middle names the one whose beginning it shares", () => {
  const matcher = matcherWith([1, 2, 3], [1, 5, 6]);
  matcher.begin(3 * mebibyte);
  matcher.chunk(digest(1));
  matcher.chunk(digest(5));
  assert.deepEqual(matcher.chunk(digest(7)), { content: 1, chunks: 2 });
  assert.equal(matcher.isWriting, true);
});

test("contents of other sizes and removed ones are not compared", () => {
  const matcher = matcherWith([1, 2, 3], [1, 2]);
  matcher.remove(0);
  matcher.begin(3 * mebibyte);
  matcher.chunk(digest(1));
  assert.equal(matcher.isWriting, true);
});
