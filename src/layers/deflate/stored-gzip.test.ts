import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { getEventListeners } from "node:events";
import test from "node:test";
import { constants, crc32, createDeflateRaw, gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { decompress, inputsHeld, storedFromBytes } from "../compression.ts";
import { YoungGarbage } from "../young-garbage.ts";
import { windowBytes } from "./output-window.ts";
import { probeStoredGzip } from "./stored-gzip.ts";

const isStoredGzip = (start: Uint8Array): boolean => probeStoredGzip(start) !== undefined;

const signal = new AbortController().signal;
const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
/** As of a stream that is long enough to be copied. */
const long = { mediaType, sizeBytes: storedFromBytes, signal };

async function* pieces(bytes: Uint8Array, sizeBytes: number): AsyncGenerator<Uint8Array> {
  const given: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += sizeBytes) {
    const piece = Uint8Array.from(bytes.subarray(at, at + sizeBytes));
    given.push(piece);
    yield piece;
    // Who reads may not look at it any more.
    if (given.length > inputsHeld) given.shift()?.fill(0xa5);
  }
}

async function inflated(bytes: Uint8Array, sizeBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of decompress(pieces(bytes, sizeBytes), long)) parts.push(Buffer.from(piece));
  return Buffer.concat(parts);
}

type Part = { readonly bytes: Buffer; readonly level: number; readonly strategy: number; readonly flush: number };

/** One gzip member of parts, each compressed in its own way in one deflate stream. */
async function gzipOf(parts: readonly Part[], header = Buffer.from("1f8b0800000000000003", "hex")): Promise<Buffer> {
  const stream = createDeflateRaw({ level: 6 });
  const out: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => out.push(chunk));
  const ended = new Promise((resolve) => stream.on("end", resolve));
  for (const { bytes, level, strategy, flush } of parts) {
    await new Promise<void>((resolve) => stream.params(level, strategy, () => resolve()));
    await new Promise<void>((resolve) => stream.write(bytes, () => resolve()));
    await new Promise<void>((resolve) => stream.flush(flush, () => resolve()));
  }
  stream.end();
  await ended;
  const content = Buffer.concat(parts.map(({ bytes }) => bytes));
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(content), 0);
  trailer.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, ...out, trailer]);
}

function text(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let i = 0, x = seed; i < sizeBytes; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    bytes[i] = 97 + ((x >>> 16) % 7);
  }
  return bytes;
}

const plain = { level: 6, strategy: constants.Z_DEFAULT_STRATEGY, flush: constants.Z_NO_FLUSH };
const random = (sizeBytes: number): Part => ({ ...plain, bytes: randomBytes(sizeBytes) });
const stored = (bytes: Buffer): Part => ({ ...plain, bytes, level: 0 });

async function check(gzip: Buffer, expected: Buffer, sizes = [1 << 20, 65_536, 4097]): Promise<void> {
  assert.ok(gunzipSync(gzip).equals(expected), "what was made is what was meant");
  for (const size of sizes) assert.ok((await inflated(gzip, size)).equals(expected), `in pieces of ${size}`);
}

test("what does not compress is told from what does", async () => {
  assert.equal(isStoredGzip(await gzipOf([{ ...plain, bytes: text(512) }, random(100_000)])), true);
  assert.equal(isStoredGzip(gzipSync(text(500_000))), false);
  assert.equal(isStoredGzip(gzipSync(randomBytes(500_000), { level: 0 })), true);
  // The only block: nothing is saved.
  assert.equal(isStoredGzip(gzipSync(randomBytes(100))), false);
  assert.equal(isStoredGzip(Buffer.from("1f8b080000000000000307", "hex")), false, "an invalid block is left to zlib");
});

test("any sequence of stored and compressed blocks inflates as zlib does it, in pieces of any size", async () => {
  const part = fc.record({
    bytes: fc
      .record({
        kind: fc.constantFrom("random", "text", "zeros"),
        size: fc.integer({ min: 0, max: 120_000 }),
        seed: fc.nat(),
      })
      .map(({ kind, size, seed }) => {
        if (kind === "zeros") return Buffer.alloc(size);
        if (kind === "text") return text(size, seed);
        return Buffer.from(
          createHash("shake256", { outputLength: Math.max(1, size) })
            .update(`${seed}`)
            .digest(),
        );
      }),
    level: fc.constantFrom(0, 1, 6, 9),
    strategy: fc.constantFrom(constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY),
    flush: fc.constantFrom(
      constants.Z_NO_FLUSH,
      constants.Z_PARTIAL_FLUSH,
      constants.Z_SYNC_FLUSH,
      constants.Z_FULL_FLUSH,
    ),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { maxLength: 8 }),
      fc.constantFrom(1 << 20, 65_536, 4099, 997),
      async (parts, size) => {
        // The first block is stored, so that zlib does not get it all.
        const all = [stored(randomBytes(100)), ...parts];
        await check(await gzipOf(all), Buffer.concat(all.map(({ bytes }) => bytes)), [size]);
      },
    ),
    { numRuns: 60 },
  );
});

test("zlib takes over in the middle of a byte, with all that the stream may copy from", async () => {
  for (let shift = 0; shift < 10; shift++) {
    const begin = [
      stored(randomBytes(40_000)),
      { ...plain, bytes: text(64 + shift, shift), flush: constants.Z_PARTIAL_FLUSH },
    ];
    // More than is decoded without zlib.
    const rest = [1_200_000, 100_000].map((size) => ({ ...plain, bytes: text(size, shift) }));
    const parts = [...begin, ...rest, random(70_000)];
    await check(await gzipOf(parts), Buffer.concat(parts.map(({ bytes }) => bytes)), [65_537]);
  }
});

test("a single block larger than what is decoded at once goes to zlib", async () => {
  const parts = [stored(randomBytes(1000)), { ...plain, bytes: Buffer.alloc(8 << 20) }, random(5000)];
  await check(await gzipOf(parts), Buffer.concat(parts.map(({ bytes }) => bytes)));
});

test("further members, zeros behind the end and names in the header are read", async () => {
  const name = Buffer.from("1f8b081c00000000000304006162636466696c6500636f6d6d656e7400", "hex");
  const first = [{ ...plain, bytes: text(600) }, random(200_000)];
  const gzip = await gzipOf(first, name);
  assert.equal(isStoredGzip(gzip), true);
  const content = Buffer.concat(first.map(({ bytes }) => bytes));
  await check(Buffer.concat([gzip, gzipSync("more"), gzip]), Buffer.concat([content, Buffer.from("more"), content]));
  await check(Buffer.concat([gzip, Buffer.alloc(5000)]), content);
  for (const size of [1 << 20, 1000])
    await assert.rejects(inflated(Buffer.concat([gzip, Buffer.alloc(3), Buffer.from("x")]), size), {
      code: "corrupt-compression",
    });
});

test("a stream that is cut short anywhere, or has a flipped bit that shows, is corrupt", async () => {
  const parts = [{ ...plain, bytes: text(512) }, random(40_000), { ...plain, bytes: text(30_000) }, random(40_000)];
  const gzip = await gzipOf(parts);
  for (let end = 20; end < gzip.length; end += end < 700 ? 7 : 2503)
    await assert.rejects(inflated(gzip.subarray(0, end), 4096), { code: "corrupt-compression", message: /cut short/ });
  for (let at = 10; at < gzip.length; at += 997) {
    const flipped = Buffer.from(gzip);
    flipped[at] ^= 1 << (at % 8);
    await assert.rejects(inflated(flipped, 4096), { code: "corrupt-compression" });
  }
});

test("damage behind the place where zlib takes over is told as well, and wrong trailers", async () => {
  const parts = [
    stored(randomBytes(1000)),
    ...[1, 2, 3, 4].map((seed) => ({ ...plain, bytes: text(1_000_000, seed) })),
  ];
  const gzip = await gzipOf(parts);
  await assert.rejects(inflated(gzip.subarray(0, -9), 65_536), { code: "corrupt-compression", message: /cut short/ });
  await assert.rejects(inflated(gzip.subarray(0, -1), 65_536), { code: "corrupt-compression", message: /cut short/ });
  for (const [at, message] of [
    [gzip.length - 8, /incorrect data check/],
    [gzip.length - 1, /incorrect length check/],
  ] as const) {
    const flipped = Buffer.from(gzip);
    flipped[at] ^= 1;
    await assert.rejects(inflated(flipped, 65_536), { code: "corrupt-compression", message });
  }
});

test("a stream of more blocks than are worth it inflates as zlib does it", async () => {
  const empty = Array.from({ length: 600 }, () => ({
    ...plain,
    bytes: Buffer.alloc(0),
    flush: constants.Z_FULL_FLUSH,
  }));
  const few = Array.from({ length: 600 }, (_, i) => ({
    ...plain,
    bytes: text(40, i),
    flush: constants.Z_PARTIAL_FLUSH,
  }));
  const parts = [stored(randomBytes(1000)), ...empty, ...few, random(70_000)];
  await check(await gzipOf(parts), Buffer.concat(parts.map(({ bytes }) => bytes)), [4097]);
});

test("only of long streams are stored blocks copied", async () => {
  const gzip = await gzipOf([stored(randomBytes(1_000_000))]);
  const lengths = async (sizeBytes: number): Promise<number[]> => {
    const all: number[] = [];
    for await (const piece of decompress(pieces(gzip, 100_000), { ...long, sizeBytes }))
      all.push(piece.buffer.byteLength);
    return all;
  };
  // The window and its history are one buffer.
  const isCopied = (all: readonly number[]) => all.some((bytes) => bytes > windowBytes);
  assert.ok(isCopied(await lengths(storedFromBytes)));
  assert.ok(!isCopied(await lengths(storedFromBytes - 1)));
});

const longStoredGzip = (): Buffer => gzipSync(Buffer.alloc(256 << 20), { level: 0 });

test("pieces of input that are used up do not pile up in memory", async () => {
  const gzip = longStoredGzip();
  async function* fresh(): AsyncGenerator<Uint8Array> {
    const sizeBytes = 256 << 10;
    for (let at = 0; at < gzip.length; at += sizeBytes) yield Uint8Array.from(gzip.subarray(at, at + sizeBytes));
  }
  // The second waits until the memory that the first found is free.
  for (let i = 0; i < 2; i++) new YoungGarbage().collectAll();
  const before = process.memoryUsage().arrayBuffers;
  let mostBytes = 0;
  for await (const _ of decompress(fresh(), { ...long, sizeBytes: gzip.length }))
    mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers - before);
  assert.ok(mostBytes > 0 && mostBytes < 48 << 20, `${mostBytes} bytes`);
});

test("an input that hangs does not hold up what is aborted, wherever it hangs", async () => {
  const gzip = await gzipOf([stored(randomBytes(100_000)), random(100_000)]);
  for (const given of [gzip.subarray(0, 50_000), gzip.subarray(0, -3), gzip, Buffer.concat([gzip, Buffer.alloc(9)])]) {
    const controller = new AbortController();
    async function* hanging(): AsyncGenerator<Uint8Array> {
      yield given;
      setImmediate(() => controller.abort(new Error("stopped")));
      await new Promise(() => {});
    }
    const reading = async (): Promise<void> => {
      for await (const _ of decompress(hanging(), { ...long, signal: controller.signal }));
    };
    await assert.rejects(reading(), /^Error: stopped$/);
  }
});

test("the input is closed when who reads stops early, and nothing waits for the signal any more", async () => {
  const { signal } = new AbortController();
  const gzip = await gzipOf([stored(randomBytes(1_000_000))]);
  const closed = Promise.withResolvers<void>();
  async function* input(): AsyncGenerator<Uint8Array> {
    try {
      yield* pieces(gzip, 65_536);
    } finally {
      closed.resolve();
    }
  }
  for await (const _ of decompress(input(), { ...long, signal })) break;
  await closed.promise;
  assert.equal(getEventListeners(signal, "abort").length, 0);
  for await (const _ of decompress(input(), { ...long, signal }))
    assert.ok(getEventListeners(signal, "abort").length < 2);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});
