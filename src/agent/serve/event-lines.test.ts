import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { waitUntil } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import type { AgentControl } from "./control.ts";
import { serveControl } from "./control-server.ts";
import { EventLines } from "./event-lines.ts";

type Line = { readonly event?: { readonly done: number }; readonly dropped?: number; readonly report?: object };

/** Asserts that the lines tell of the events 1 to `total` without a hole that no line names, and of the newest; the report at their end. */
function checkLines(lines: readonly Line[], total: number): number {
  let told = 0;
  let dropped = 0;
  for (const [i, line] of lines.entries()) {
    if (line.dropped !== undefined) {
      told += line.dropped;
      dropped += line.dropped;
    } else if (line.event !== undefined) {
      told++;
      assert.equal(line.event.done, told);
    } else {
      assert.equal(i, lines.length - 1);
      assert.ok(line.report);
    }
  }
  assert.equal(told, total);
  assert.ok(lines.at(-1)?.report, "the report is the last line");
  return dropped;
}

test("a reader who keeps up gets every event", async () => {
  const stream = new PassThrough({ encoding: "utf8" });
  const lines = new EventLines(stream);
  const read: Line[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: stream })) read.push(JSON.parse(line));
  })();
  for (let done = 1; done <= 50; done++) {
    lines.event({ done });
    await waitUntil("it is read", async () => read.length === done);
  }
  lines.end({ report: {} });
  await reading;
  assert.equal(checkLines(read, 50), 0);
});

test("for a reader who never reads no more is held than may be, and all of it comes when it reads", async () => {
  const maxWaitingBytes = 1000;
  const texts: string[] = [];
  let take = () => {};
  const stream = new Writable({
    highWaterMark: 10,
    write(chunk: Buffer, _, done) {
      texts.push(chunk.toString());
      take = done;
    },
  });
  const lines = new EventLines(stream, { maxWaitingBytes });
  for (let done = 1; done <= 10_000; done++) {
    lines.event({ done });
    assert.ok(lines.waitingBytes <= maxWaitingBytes, `${lines.waitingBytes} bytes wait`);
  }
  assert.equal(texts.length, 1);
  assert.ok(stream.writableLength < 100, `${stream.writableLength} bytes in the stream`);
  lines.end({ report: {} });
  lines.event({ done: 0 });
  const ended = once(stream, "finish");
  const reading = setInterval(() => take(), 0);
  await ended;
  clearInterval(reading);
  const read = texts.map((text): Line => JSON.parse(text));
  assert.ok(checkLines(read, 10_000) > 9000);
});

test("one event that is too large by itself is dropped too", () => {
  const stream = new Writable({ highWaterMark: 1, write() {} });
  const lines = new EventLines(stream, { maxWaitingBytes: 100 });
  lines.event({ done: 1 });
  lines.event({ text: "x".repeat(1000) });
  assert.equal(lines.waitingBytes, 0);
});

/** An agent whose injection tells of so many events at once. */
async function serveEvents(scope: Scope, total: number): Promise<{ path: string; isDone: () => boolean }> {
  const path = `${await temporaryDirectory(scope, "control")}/agent.sock`;
  let isDone = false;
  const control: AgentControl = {
    status: () => [],
    disks: async () => [],
    eject: async () => ({ disks: [] }),
    async inject(_, { onEvent }) {
      for (let done = 1; done <= total; done++) onEvent?.({ type: "chains", done, total });
      isDone = true;
      return { disk: "", images: [], conditions: [], calls: 0, transactions: 0, seconds: { usable: 0, chains: 0 } };
    },
  };
  const server = await serveControl({ path, control, version: "1" });
  scope.defer(() => server[Symbol.asyncDispose]());
  return { path, isDone: () => isDone };
}

test("a client of an agent that does not read holds nothing up, and finds the newest events and the report", async () => {
  await using scope = new AsyncDisposableStack();
  const total = 200_000;
  const { path, isDone } = await serveEvents(scope, total);
  const socket = connect(path);
  scope.defer(async () => void socket.destroy());
  const body = JSON.stringify({ runtime: "x", path: "/a", handlers: "all", force: false, chains: true });
  socket.write(`POST /v1/inject HTTP/1.0\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  await waitUntil("the work is done", async () => isDone());
  const read: Line[] = [];
  for await (const line of createInterface({ input: socket })) if (line.startsWith("{")) read.push(JSON.parse(line));
  const dropped = checkLines(read, total);
  assert.ok(dropped > total / 2, `${dropped} events dropped`);
});
