import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { flushBytes, WriteBack } from "./write-back.ts";

/** Flushes that last until they are told to end. */
function heldFlushes() {
  const flushes: { end: () => void; fail: (error: unknown) => void }[] = [];
  const writeBack = new WriteBack(() => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    flushes.push({ end: resolve, fail: reject });
    return promise;
  });
  return { flushes, writeBack };
}

test("a flush begins when enough was written", () => {
  const { flushes, writeBack } = heldFlushes();
  writeBack.wrote(flushBytes - 1);
  assert.equal(flushes.length, 0);
  writeBack.wrote(1);
  assert.equal(flushes.length, 1);
});

test("one flush runs at a time; what was written meanwhile, if enough, is flushed after it without another write", async () => {
  const { flushes, writeBack } = heldFlushes();
  writeBack.wrote(flushBytes);
  writeBack.wrote(5 * flushBytes);
  assert.equal(flushes.length, 1);
  flushes[0]?.end();
  await setImmediate();
  assert.equal(flushes.length, 2);
  writeBack.wrote(flushBytes - 1);
  flushes[1]?.end();
  await setImmediate();
  assert.equal(flushes.length, 2);
  writeBack.wrote(1);
  assert.equal(flushes.length, 3);
});

test("a flush that is asked for while another runs comes after it", async () => {
  const { flushes, writeBack } = heldFlushes();
  writeBack.begin();
  writeBack.wrote(1);
  writeBack.begin();
  assert.equal(flushes.length, 1);
  flushes[0]?.end();
  await setImmediate();
  assert.equal(flushes.length, 2);
});

test("the first failure is kept, and nothing is flushed after it", async () => {
  const { flushes, writeBack } = heldFlushes();
  const failure = new Error("EIO");
  writeBack.begin();
  writeBack.begin();
  writeBack.check();
  flushes[0]?.fail(failure);
  await setImmediate();
  writeBack.wrote(flushBytes);
  await writeBack.stop();
  assert.equal(flushes.length, 1);
  for (let i = 0; i < 2; i++) assert.throws(() => writeBack.check(), failure);
});

test("stopping waits for the flush under way and begins no other", async () => {
  const { flushes, writeBack } = heldFlushes();
  writeBack.begin();
  writeBack.begin();
  let hasStopped = false;
  const stopped = writeBack.stop().then(() => {
    hasStopped = true;
  });
  await setImmediate();
  assert.equal(hasStopped, false);
  flushes[0]?.end();
  await stopped;
  writeBack.begin();
  await setImmediate();
  assert.equal(flushes.length, 1);
});
