import assert from "node:assert/strict";
import { posix } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { cleanName, climbs, hasDotDot, joinAbsolute, joinCleaned } from "./path.ts";

const path = fc
  .array(fc.constantFrom("a", "b", ".", "..", "", "...", ".x", "x."), { maxLength: 7 })
  .map((parts) => parts.join("/"));

const cleaned = (name: string) => {
  const result = cleanName(Buffer.from(name));
  return result === climbs ? climbs : Buffer.from(result).toString();
};

describe("cleanName", () => {
  it("folds names as path.normalize does, below the root", () => {
    fc.assert(
      fc.property(path, (name) => {
        const result = cleaned(name);
        const relative = posix.normalize(`./${name.replace(/^\/+/, "")}`).replace(/\/$/, "");
        if (relative === ".." || relative.startsWith("../")) assert.equal(result, climbs);
        else if (result !== climbs) assert.equal(result, relative === "." ? "" : relative);
        else assert.fail(`${name} does not climb`);
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps bytes that are no UTF-8", () => {
    const name = Buffer.from([0xff, 0x2f, 0x2f, 0xfe]);
    assert.deepEqual(Buffer.from(cleanName(name) as Uint8Array), Buffer.from([0xff, 0x2f, 0xfe]));
  });

  it("takes names of dots for names", () => {
    assert.equal(cleaned("..."), "...");
    assert.equal(cleaned("a/..b/.c"), "a/..b/.c");
  });

  it("refuses climbing, also from absolute names", () => {
    for (const name of ["..", "/..", "../a", "a/../..", "/../a"]) assert.equal(cleaned(name), climbs, name);
  });
});

describe("joining paths", () => {
  it("stops at the root", () => {
    assert.equal(joinAbsolute("/a", "../../b"), "/b");
    assert.equal(joinAbsolute("/", "/x//y/."), "/x/y");
  });

  it("keeps relative paths relative", () => {
    fc.assert(
      fc.property(path, path, (first, second) => {
        const joined = first === "" ? second : `${first}/${second}`;
        const expected = posix.normalize(joined).replace(/(.)\/$/, "$1");
        assert.equal(joinCleaned(first, second), expected);
      }),
      { numRuns: 2000 },
    );
  });
});

it("hasDotDot finds whole components only", () => {
  for (const name of ["..", "a/..", "../a", "a/../b"]) assert.ok(hasDotDot(Buffer.from(name)), name);
  for (const name of ["", "...", "a..", "..a", "a/..b", "a./.b"]) assert.ok(!hasDotDot(Buffer.from(name)), name);
});
