import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangeQueue } from "./change-queue.ts";
import type { ImageChange } from "./image-keeper.ts";

const signal = new AbortController().signal;
const name = (i: number): ImageChange => ({ type: "changed", name: `example.com/image:${i}` });

async function readAll(queue: ChangeQueue): Promise<ImageChange[]> {
  queue.end();
  return Array.fromAsync(queue.read(signal));
}

test("a name waits once, however often it changes", async () => {
  const queue = new ChangeQueue();
  for (const change of [name(1), name(2), name(1), { type: "changed" } as const, name(2)]) queue.push(change);
  assert.deepEqual(await readAll(queue), [name(1), name(2), { type: "changed" }]);
});

test("whoever is told to look at everything is not told single names from before", async () => {
  const queue = new ChangeQueue();
  queue.push(name(1));
  queue.push({ type: "lost", message: "first" });
  queue.push({ type: "listening" });
  queue.push({ type: "lost", message: "second" });
  queue.push({ type: "listening" });
  queue.push(name(2));
  assert.deepEqual(await readAll(queue), [{ type: "lost", message: "second" }, { type: "listening" }, name(2)]);
});

test("too many names become one look at everything", async () => {
  const queue = new ChangeQueue();
  for (let i = 0; i <= 1000; i++) queue.push(name(i));
  queue.push(name(5000));
  assert.deepEqual(await readAll(queue), [{ type: "listening" }, name(5000)]);
});

test("a reader that waits is woken by a change, by an error, and by its signal", async () => {
  const queue = new ChangeQueue();
  const changes = queue.read(signal);
  const first = changes.next();
  queue.push(name(1));
  assert.deepEqual(await first, { value: name(1), done: false });
  const failed = assert.rejects(changes.next(), /broken/);
  queue.fail(new Error("broken"));
  await failed;

  const stop = new AbortController();
  const ended = new ChangeQueue().read(stop.signal).next();
  stop.abort();
  assert.deepEqual(await ended, { value: undefined, done: true });
});
