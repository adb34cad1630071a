import assert from "node:assert/strict";
import { test } from "node:test";
import { cachedDataVersionTag } from "node:v8";
import { Worker } from "node:worker_threads";
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

test("threads that begin to collect at the same time do not take it from each other", async () => {
  const code = `
    import { workerData } from "node:worker_threads";
    const { YoungGarbage } = await import(workerData);
    for (let i = 0; i < 200; i++) new YoungGarbage().add(64 << 20);
  `;
  const workerData = import.meta.resolve("./young-garbage.ts");
  const ended = Array.from({ length: 4 }, () => {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    worker.on("error", reject).on("exit", resolve);
    return promise;
  });
  assert.deepEqual(await Promise.all(ended), [0, 0, 0, 0]);
});
