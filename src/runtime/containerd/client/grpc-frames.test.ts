import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameSplitter, frame, maxMessageBytes } from "./grpc-frames.ts";
import { grpcStatusOf } from "./grpc-status.ts";

test("messages are found wherever the stream is cut", () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(frame));
      const splitter = new FrameSplitter();
      const received: Uint8Array[] = [];
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const end = at + (cuts[turn % cuts.length] ?? 1);
        for (const message of splitter.push(stream.subarray(at, end))) received.push(Uint8Array.from(message));
        at = end;
      }
      assert.deepEqual(received, sent);
      assert.equal(splitter.isInside, false);
    }),
  );
});

test("an unfinished message is noticed", () => {
  const splitter = new FrameSplitter();
  assert.deepEqual([...splitter.push(frame(new Uint8Array(10)).subarray(0, 9))], []);
  assert.equal(splitter.isInside, true);
});

test("compressed messages and those over the limit are refused before they are collected", () => {
  assert.throws(() => [...new FrameSplitter().push(Buffer.from([1, 0, 0, 0, 0]))], /compressed/);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(maxMessageBytes + 1, 1);
  assert.throws(() => [...new FrameSplitter().push(prefix)], /67108865 bytes/);
});

test("statuses have the names of gRPC, in its order", () => {
  const codes = Array.from({ length: 18 }, (_, status) => grpcStatusOf({ "grpc-status": String(status) })?.code);
  assert.deepEqual(codes, [
    undefined,
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
    "unknown",
  ]);
  assert.equal(grpcStatusOf({}), undefined);
  assert.equal(grpcStatusOf({ "grpc-status": "x" })?.code, "unknown");
});

test("status messages are unescaped where they can be", () => {
  const messageOf = (message: string) => grpcStatusOf({ "grpc-status": "5", "grpc-message": message })?.message;
  assert.equal(messageOf("K%C3%A4se%0A100%25"), "Käse\n100%");
  assert.equal(messageOf("100% %zz"), "100% %zz");
});
