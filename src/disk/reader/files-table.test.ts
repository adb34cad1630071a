import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { chunkBytes } from "../../layers/content.ts";
import { DiskError } from "../disk-error.ts";
import { areaKind } from "../files-format.ts";
import { FilesTable } from "./files-table.ts";

type Small = { digest: number; block: number; size: number };
type Large = { size: number; block: number; chunks: readonly (number | undefined)[] };
type AreaRow = { block: number; count: number; kind: number };

/** Written from the page alone, not with the builder's code. */
function encode(smalls: readonly Small[], larges: readonly Large[], areas: readonly AreaRow[]): Buffer {
  const chunks = larges.flatMap(({ chunks }) => chunks);
  const areaChunks = areas.flatMap(({ count }) => Array.from({ length: Math.ceil(count / 256) }, () => 9));
  const header = Buffer.alloc(32);
  header.write("NWFILES1");
  header.writeUInt32LE(smalls.length, 8);
  header.writeUInt32LE(larges.length, 12);
  header.writeUInt32LE(chunks.length + areaChunks.length, 16);
  header.writeUInt32LE(areas.length, 20);
  const words = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
  let next = 0;
  const parts = [header];
  for (const { digest, block, size } of smalls) parts.push(Buffer.alloc(32, digest), words(block, size));
  for (const { size, block, chunks } of larges) {
    const stored = chunks.filter((chunk) => chunk !== undefined).length;
    parts.push(words(size % 2 ** 32, Math.floor(size / 2 ** 32), block, next, stored, 0));
    next += chunks.length;
  }
  for (const chunk of [...chunks, ...areaChunks]) parts.push(Buffer.alloc(32, chunk ?? 0));
  for (const { block, count, kind } of areas) {
    parts.push(words(block, count, next, kind));
    next += Math.ceil(count / 256);
  }
  return Buffer.concat(parts);
}

const smalls: Small[] = [
  { digest: 1, block: 1, size: 1 },
  { digest: 2, block: 2, size: 5000 },
  { digest: 3, block: 1000, size: chunkBytes },
];
const larges: Large[] = [
  { size: chunkBytes + 1, block: 4, chunks: [7, 8] },
  { size: 3 * chunkBytes, block: 261, chunks: [undefined, undefined, undefined] },
  { size: 3 * chunkBytes + 5, block: 261, chunks: [undefined, 7, undefined, 8] },
];
const areas: AreaRow[] = [
  { block: 0, count: 1, kind: areaKind.superblock },
  { block: 2000, count: 257, kind: areaKind.metadata },
];

describe("the table of contents and areas", () => {
  const table = new FilesTable(encode(smalls, larges, areas), "disk");

  it("gives sizes, places and digests", () => {
    assert.deepEqual(
      Array.from({ length: table.contentCount }, (_, i) => [
        table.sizeBytes(i),
        table.firstBlock(i),
        table.blockCount(i),
      ]),
      [
        [1, 1, 1],
        [5000, 2, 2],
        [chunkBytes, 1000, 256],
        [chunkBytes + 1, 4, 257],
        [3 * chunkBytes, 261, 0],
        [3 * chunkBytes + 5, 261, 257],
      ],
    );
    assert.ok(table.smallDigest(1).equals(Buffer.alloc(32, 2)));
    assert.ok(table.chunkDigest(table.firstChunk(5) + 3).equals(Buffer.alloc(32, 8)));
    assert.ok(table.isHole(table.firstChunk(5)));
    assert.deepEqual(table.area(1), { firstBlock: 2000, blockCount: 257, firstChunk: 10, kind: areaKind.metadata });
  });

  it("finds contents by place and size, also where one that is all hole stands at the same place", () => {
    for (const content of [0, 1, 2, 3, 5]) {
      assert.equal(table.findContent(table.firstBlock(content), table.sizeBytes(content)), content);
    }
    assert.equal(table.findContent(2, 4999), -1);
    assert.equal(table.findContent(3, 5000), -1);
    assert.equal(table.findHole(3 * chunkBytes), 4);
    assert.equal(table.findHole(4 * chunkBytes), -1);
  });

  const refusals: [string, Buffer][] = [
    ["another magic", Buffer.concat([Buffer.from("NWFILES2"), encode(smalls, larges, areas).subarray(8)])],
    ["a byte too much", Buffer.concat([encode(smalls, larges, areas), Buffer.alloc(1)])],
    ["small contents out of order", encode([smalls[1], smalls[0]], [], [])],
    ["small contents that overlap", encode([smalls[1], { digest: 1, block: 3, size: 1 }], [], [])],
    ["a small content without bytes", encode([{ digest: 1, block: 1, size: 0 }], [], [])],
    ["a small content that is large", encode([{ digest: 1, block: 1, size: chunkBytes + 1 }], [], [])],
    ["a large content that is small", encode([], [{ size: chunkBytes, block: 1, chunks: [1] }], [])],
    ["a large content with too few chunks", encode([], [{ size: 2 * chunkBytes, block: 1, chunks: [1] }], [])],
    ["chunk digests that belong to nothing", encode([], [{ size: chunkBytes + 1, block: 1, chunks: [1, 2, 3] }], [])],
    ["an area without blocks", encode([], [], [{ block: 1, count: 0, kind: 0 }])],
    ["an area of unknown kind", encode([], [], [{ block: 1, count: 1, kind: 5 }])],
    ["areas out of order", encode([], [], [areas[1], areas[0]])],
  ];
  for (const [what, bytes] of refusals) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => new FilesTable(bytes, "disk"), { name: "DiskError", code: "corrupt" });
    });
  }

  it("is read or refused whatever its bytes are", () => {
    const sound = encode(smalls, larges, areas);
    const change = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 5 }), (changes) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          const read = new FilesTable(bytes, "disk");
          for (let i = 0; i < read.contentCount; i++) read.blockCount(i);
        } catch (error) {
          if (!(error instanceof DiskError)) throw error;
        }
      }),
    );
  });
});
