import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { waitUntil } from "../../../test/support/processes.ts";
import { QuietMemory } from "./quiet-memory.ts";

/** On a clock that stands; counts how often memory is given back. */
function counted(context: TestContext) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const count = { released: 0 };
  const memory = new QuietMemory({ quietMs: 1000, release: () => void count.released++ });
  return { memory, count, tick: (ms: number) => context.mock.timers.tick(ms) };
}

test("memory is given back once when nothing has happened for a while, and not again until something does", (context) => {
  const { memory, count, tick } = counted(context);
  tick(60_000);
  assert.equal(count.released, 0, "nothing has happened yet");
  memory.note();
  tick(999);
  assert.equal(count.released, 0);
  tick(1);
  assert.equal(count.released, 1);
  tick(60_000);
  assert.equal(count.released, 1);
  memory.note();
  tick(1000);
  assert.equal(count.released, 2);
});

test("while things happen nothing is given back", (context) => {
  const { memory, count, tick } = counted(context);
  for (let i = 0; i < 100; i++) {
    memory.note();
    tick(500);
  }
  assert.equal(count.released, 0);
  tick(500);
  assert.equal(count.released, 1);
});

test("stopped, nothing is given back, until something happens again", (context) => {
  const { memory, count, tick } = counted(context);
  memory.note();
  memory.stop();
  memory.stop();
  tick(60_000);
  assert.equal(count.released, 0);
  memory.note();
  tick(1000);
  assert.equal(count.released, 1);
});

test("by default it is the process's own memory, files of its program first", async () => {
  const fileBytes = () => Number(/^RssFile:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
  const before = fileBytes();
  const memory = new QuietMemory({ quietMs: 1 });
  memory.note();
  await waitUntil("less of the program is in memory", async () => fileBytes() < before - (4 << 20));
});
