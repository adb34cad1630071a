import assert from "node:assert/strict";
import { test } from "node:test";
import { BatchWriter } from "./batch-writer.ts";
import { batchBytes, batchKind, batchRecords, type ContentBatch } from "./content-batch.ts";

const digest = new Uint8Array(32);

function collect(): { readonly writer: BatchWriter; readonly batches: ContentBatch[] } {
  const batches: ContentBatch[] = [];
  const writer = new BatchWriter(
    (batch) => batches.push(batch),
    () => new Uint8Array(batchBytes).fill(0xff),
  );
  return { writer, batches };
}

function addSmall(writer: BatchWriter, data: Uint8Array): void {
  writer.add(batchKind.small, data.length, digest, data);
}

function dataOf({ data, offsets, sizes }: ContentBatch, record: number): string {
  return Buffer.from(data.subarray(offsets[record], offsets[record] + sizes[record])).toString();
}

/** Puts `text` together in the writer's room, byte by byte. */
function inRoom(writer: BatchWriter, text: string): Uint8Array {
  const room = writer.room(text.length);
  for (const [i, byte] of Buffer.from(text).entries()) room[i] = byte;
  return room;
}

test("data stands where it was put together, padded with zeros, between data from elsewhere", () => {
  const { writer, batches } = collect();
  addSmall(writer, Buffer.from("before"));
  const room = inRoom(writer, "put together");
  addSmall(writer, room);
  addSmall(writer, Buffer.from("after"));
  writer.flush();

  const [batch] = batches;
  assert.deepEqual([...batch.offsets], [0, 4096, 8192]);
  assert.equal(room.byteOffset, 4096);
  assert.equal(room.buffer, batch.data.buffer);
  assert.deepEqual(
    [0, 1, 2].map((record) => dataOf(batch, record)),
    ["before", "put together", "after"],
  );
  assert.ok(batch.data.subarray(4096 + room.length, 8192).every((byte) => byte === 0));
});

test("room that is not used leaves nothing behind", () => {
  const { writer, batches } = collect();
  inRoom(writer, "known already, and longer than what follows");
  addSmall(writer, Buffer.from("next"));
  writer.flush();

  const [batch] = batches;
  assert.equal(batch.count, 1);
  assert.equal(dataOf(batch, 0), "next");
  assert.ok(batch.data.subarray(4, 4096).every((byte) => byte === 0));
});

test("room that does not fit into a batch is given in the next one", () => {
  const { writer, batches } = collect();
  addSmall(writer, Buffer.from("first"));
  const whole = writer.room(batchBytes).fill(7);
  assert.equal(batches.length, 1);
  addSmall(writer, whole);
  writer.flush();

  assert.equal(dataOf(batches[0], 0), "first");
  assert.equal(batches[1].data.buffer, whole.buffer);
  assert.ok(batches[1].data.every((byte) => byte === 7));
});

test("a batch with no record left is given before the room of the next", () => {
  const { writer, batches } = collect();
  for (let i = 0; i < batchRecords; i++) writer.add(batchKind.hole, 0, digest);
  addSmall(writer, inRoom(writer, "next"));
  writer.flush();

  assert.deepEqual(
    batches.map(({ count }) => count),
    [batchRecords, 1],
  );
  assert.equal(dataOf(batches[1], 0), "next");
});
