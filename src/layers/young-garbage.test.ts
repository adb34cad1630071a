import assert from "node:assert/strict";
import { test } from "node:test";
import { cachedDataVersionTag } from "node:v8";
import { YoungGarbage } from "./young-garbage.ts";

const tagAtStart = cachedDataVersionTag();

test("collects objects that nobody refers to any more", async () => {
  const garbage = new YoungGarbage();
  const gone = new WeakRef({});
  // A reference that was made or read lives until the job ends.
  await new Promise(setImmediate);
  garbage.collectAll();
  assert.equal(gone.deref(), undefined);
});

test("code that was compiled before it is accepted after it, by V8's own sign", () => {
  new YoungGarbage().collectAll();
  assert.equal(cachedDataVersionTag(), tagAtStart);
});
