import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { bodyPieces } from "./body-pieces.ts";

const noted = { sizeBytes: undefined, onArrival: () => {} };

async function collect(body: Readable, sizeBytes?: number): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of bodyPieces(body, { ...noted, sizeBytes })) pieces.push(piece);
  return pieces;
}

test("small arrivals are gathered into pieces of 1 MiB, each in memory of its own", async () => {
  const bytes = Buffer.alloc(2_400_000, "nodewarm");
  for (const sizeBytes of [undefined, bytes.length]) {
    const chunks = Array.from({ length: 600 }, (_, i) => bytes.subarray(4000 * i, 4000 * i + 4000));
    const pieces = await collect(Readable.from(chunks, { objectMode: false }), sizeBytes);
    assert.deepEqual(
      pieces.map(({ length }) => length),
      [1_048_576, 1_048_576, 302_848],
    );
    assert.equal(new Set(pieces.map(({ buffer }) => buffer)).size, 3);
    assert.deepEqual(Buffer.concat(pieces), bytes);
  }
});

test("an empty body has no pieces, also where the server announced some", async () => {
  assert.deepEqual(await collect(Readable.from([])), []);
  assert.deepEqual(await collect(Readable.from([]), 10), []);
});

test("a body longer than announced comes whole: the reader judges", async () => {
  assert.deepEqual(Buffer.concat(await collect(Readable.from([Buffer.from("longer")]), 2)), Buffer.from("longer"));
});

test("what came before a failure is given before it is thrown", async () => {
  const body = new Readable({ read() {} });
  body.push(Buffer.from("begun"));
  setImmediate(() => body.destroy(new Error("cut")));
  const got: string[] = [];
  await assert.rejects(async () => {
    for await (const piece of bodyPieces(body, noted)) got.push(Buffer.from(piece).toString());
  }, /cut/);
  assert.deepEqual(got, ["begun"]);
});

test("a slow reader holds the body up", async () => {
  let pushed = 0;
  const body = new Readable({
    read() {
      pushed += 65_536;
      this.push(pushed > 100 * 65_536 ? null : Buffer.alloc(65_536));
    },
  });
  for await (const _ of bodyPieces(body, noted)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(pushed <= 4 * 1_048_576, `${pushed} bytes were taken at the first piece`);
    break;
  }
  assert.ok(body.destroyed);
});

test("the one who watches arrivals can end the body", async () => {
  const body = Readable.from([Buffer.alloc(10), Buffer.alloc(10)], { objectMode: false });
  const onArrival = (): void => {
    throw new Error("too slow");
  };
  await assert.rejects(Array.fromAsync(bodyPieces(body, { sizeBytes: undefined, onArrival })), /too slow/);
});
