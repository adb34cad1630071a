import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import fc from "fast-check";
import { blockBytes } from "../../../filesystem/erofs/constants.ts";
import { chunkBytes, holeDigest } from "../../../layers/content.ts";
import { PartialFile } from "../partial-file.ts";
import { BatchWriter } from "./batch-writer.ts";
import { batchBytes, batchKind, type ContentBatch } from "./content-batch.ts";
import { ContentStore } from "./content-store.ts";

/** A small content by its bytes, a large one by one byte for each chunk; `hole` for a hole. */
type Content = { readonly small: string } | { readonly chunks: readonly (number | "hole")[] };

/** Contents of a layer with a repeated one only once, and which of them no entry has. */
type Layer = { readonly contents: readonly Content[]; readonly dead?: readonly number[] };

const lastChunkBytes = 5000;

function chunkData(value: number, isLast: boolean): Uint8Array {
  return new Uint8Array(isLast ? lastChunkBytes : chunkBytes).fill(value);
}

function bytesOf(content: Content): Uint8Array {
  if ("small" in content) return new TextEncoder().encode(content.small);
  return Buffer.concat(
    content.chunks.map((value, i) => chunkData(value === "hole" ? 0 : value, i === content.chunks.length - 1)),
  );
}

function batches(contents: readonly Content[]): ContentBatch[] {
  const result: ContentBatch[] = [];
  const writer = new BatchWriter(
    (batch) => result.push(batch),
    () => new Uint8Array(batchBytes).fill(0xee),
  );
  for (const content of contents) {
    const bytes = bytesOf(content);
    if ("small" in content) {
      writer.add(batchKind.small, bytes.length, hash("sha256", bytes, "buffer"), bytes);
      continue;
    }
    writer.add(batchKind.beginLarge, bytes.length);
    const digests = content.chunks.map((value, i) => {
      const isLast = i === content.chunks.length - 1;
      if (value === "hole") writer.add(batchKind.hole, 0, holeDigest);
      else {
        const data = chunkData(value, isLast);
        writer.add(batchKind.chunk, data.length, hash("sha256", data, "buffer"), data);
      }
      return value === "hole" ? holeDigest : hash("sha256", chunkData(value, isLast), "buffer");
    });
    writer.add(batchKind.endLarge, 0, hash("sha256", Buffer.concat(digests), "buffer"));
  }
  writer.flush();
  return result;
}

/** Reads a content back as its inode would map it. */
async function readBack(file: PartialFile, store: ContentStore, content: number): Promise<Uint8Array> {
  const size = store.sizeBytes(content);
  const bytes = new Uint8Array(size);
  const chunks = store.chunkBlocks(content);
  if (chunks === undefined) await file.read(bytes, store.firstBlock(content) * blockBytes);
  else
    for (const [i, block] of chunks.entries())
      if (block !== 0xffff_ffff)
        await file.read(bytes.subarray(i * chunkBytes, Math.min(size, (i + 1) * chunkBytes)), block * blockBytes);
  return bytes;
}

type Stored = { readonly numbers: Uint32Array[]; readonly endBlock: number; readonly order: string[] };

async function store(layers: readonly Layer[]): Promise<Stored> {
  const folder = await mkdtemp(join(tmpdir(), "nodewarm-contents-"));
  const file = await PartialFile.create(join(folder, "disk"));
  try {
    const contents = new ContentStore(file, 3);
    const numbers: Uint32Array[] = [];
    for (const layer of layers) {
      contents.beginLayer();
      for (const batch of batches(layer.contents)) await contents.take(batch);
      numbers.push(await contents.endLayer(Uint32Array.from(layer.dead ?? [])));
    }
    for (const [l, layer] of layers.entries())
      for (const [i, content] of layer.contents.entries())
        if (!layer.dead?.includes(i))
          assert.ok(
            Buffer.from(await readBack(file, contents, numbers[l][i])).equals(bytesOf(content)),
            `content ${i} of layer ${l}`,
          );
    let next = 3;
    const order: string[] = [];
    for (let content = 0; content < contents.length; content++) {
      assert.equal(contents.firstBlock(content), next, "contents lie one after the other");
      next += contents.blockCount(content);
      order.push(Buffer.from(contents.digest(content)).toString("hex"));
    }
    assert.equal(contents.endBlock, next);
    return { numbers, endBlock: contents.endBlock, order };
  } finally {
    await file.discard();
    await rm(folder, { recursive: true });
  }
}

test("a content that two layers have is stored once", async () => {
  const { numbers, endBlock } = await store([
    { contents: [{ small: "a" }, { small: "b" }] },
    { contents: [{ small: "b" }, { small: "c" }] },
  ]);
  assert.deepEqual(
    numbers.map((list) => [...list]),
    [
      [0, 1],
      [1, 2],
    ],
  );
  assert.equal(endBlock, 3 + 3);
});

test("a large content that begins like another is stored beside it, whole", async () => {
  const { endBlock } = await store([
    { contents: [{ chunks: [1, 2, 3] }] },
    { contents: [{ chunks: [1, 2, 4] }, { chunks: [1, 2, 3] }] },
  ]);
  assert.equal(endBlock, 3 + 2 * (2 * 256 + 2));
});

test("holes take no blocks", async () => {
  const { endBlock } = await store([{ contents: [{ chunks: ["hole", 5, "hole", 6] }, { chunks: ["hole", "hole"] }] }]);
  assert.equal(endBlock, 3 + 256 + 2);
});

test("contents that no entry has leave no gap", async () => {
  const { endBlock, order } = await store([
    { contents: [{ small: "kept" }, { small: "gone" }, { chunks: [1, 2] }, { small: "last" }], dead: [1] },
    { contents: [{ chunks: [1, 2] }, { small: "gone" }] },
  ]);
  assert.equal(endBlock, 3 + 1 + 258 + 1 + 1);
  assert.equal(order.length, 4);
});

const content: fc.Arbitrary<Content> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ small: fc.string({ minLength: 1, maxLength: 9000 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      chunks: fc.array(fc.constantFrom<(number | "hole")[]>(1, 2, "hole"), { minLength: 2, maxLength: 4 }),
    }),
  },
);
const layer: fc.Arbitrary<Layer> = fc
  .record({
    contents: fc.uniqueArray(content, { maxLength: 6, selector: (one) => JSON.stringify(one) }),
    dead: fc.uniqueArray(fc.nat(5), { maxLength: 3 }),
  })
  // A last chunk that is a hole is full in the format; the helper makes it short.
  .map(({ contents, dead }) => ({ contents, dead: dead.filter((i) => i < contents.length) }));

test("whatever layers come, what lives reads back and lies without gaps", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(layer, { maxLength: 4 }), async (layers) => {
      await store(layers);
    }),
    { numRuns: 40 },
  );
});
