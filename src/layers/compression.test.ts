import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { pieces } from "../../test/support/layer-reading.ts";
import { pieceBytes as sharedPieceBytes } from "../oci/piece-buffers.ts";
import { decompress, detectCompression, inputsHeld } from "./compression.ts";

const options = ({ length }: Uint8Array) => ({
  mediaType: "",
  sizeBytes: length,
  signal: new AbortController().signal,
});

async function all(stored: Uint8Array, pieceBytes = 1000, mediaType = "application/vnd.oci.image.layer.v1.tar") {
  const parts: Uint8Array[] = [];
  for await (const part of decompress(pieces(stored, pieceBytes), { ...options(stored), mediaType }))
    parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

function skippable(data: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a5f, 0);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data]);
}

describe("decompress", () => {
  it("gives back any data, in any number of members or frames, in pieces of any size", async () => {
    const part = fc.record({
      data: fc.uint8Array({ maxLength: 3000 }),
      before: fc.uint8Array({ maxLength: 20 }),
      checksum: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(part, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5000 }),
        fc.boolean(),
        async (parts, pieceBytes, isZstd) => {
          const stored = parts.map(({ data, before, checksum }) =>
            isZstd
              ? Buffer.concat([
                  ...(before.length > 3 ? [skippable(before)] : []),
                  zstdCompressSync(data, { params: { [constants.ZSTD_c_checksumFlag]: checksum ? 1 : 0 } }),
                ])
              : gzipSync(data),
          );
          assert.ok(
            (await all(Buffer.concat(stored), pieceBytes)).equals(Buffer.concat(parts.map(({ data }) => data))),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it("handles data larger than its buffers", async () => {
    const data = Buffer.alloc(5_000_000, "some text that repeats, but not quite ");
    for (const stored of [gzipSync(data), zstdCompressSync(data), data])
      assert.ok((await all(stored, 65_536)).equals(data));
  });

  it("looks at no piece any more once two more have been asked for", async () => {
    const data = randomBytes(3_000_000);
    for (const stored of [gzipSync(data), zstdCompressSync(data), data]) {
      const held: Uint8Array[] = [];
      async function* reused() {
        for await (const piece of pieces(stored, 300_000)) {
          // As buffers are that another thread fills again.
          const copy = new Uint8Array(new SharedArrayBuffer(sharedPieceBytes), 0, piece.length);
          copy.set(piece);
          yield copy;
          held.push(copy);
          if (held.length === inputsHeld) held.shift()?.fill(0xaa);
        }
      }
      const parts: Uint8Array[] = [];
      for await (const part of decompress(reused(), options(stored))) parts.push(Buffer.from(part));
      assert.ok(Buffer.concat(parts).equals(data));
    }
  });

  it("takes nothing at all for an empty layer", async () => {
    assert.equal((await all(Buffer.alloc(0))).length, 0);
  });

  it("goes by the bytes, not by the media type", async () => {
    const data = Buffer.from("data");
    assert.ok((await all(gzipSync(data), 10, "application/vnd.oci.image.layer.v1.tar+zstd")).equals(data));
    assert.ok((await all(data, 10, "application/vnd.oci.image.layer.v1.tar+gzip")).equals(data));
  });

  it("lets zeros follow gzip data", async () => {
    const data = Buffer.from("data");
    for (const pieceBytes of [1, 7, 4000])
      assert.ok((await all(Buffer.concat([gzipSync(data), Buffer.alloc(3000)]), pieceBytes)).equals(data));
  });

  const gzip = gzipSync(Buffer.alloc(100_000, "abcdefg"));
  const zstd = zstdCompressSync(Buffer.alloc(100_000, "abcdefg"));
  const changed = Buffer.from(gzip);
  changed[changed.length - 5] = (changed.at(-5) as number) ^ 1;
  const refused: Readonly<Record<string, Buffer>> = {
    "gzip cut in its data": gzip.subarray(0, 60),
    "gzip cut in its trailer": gzip.subarray(0, -1),
    "gzip cut in its header": gzip.subarray(0, 6),
    "gzip with a wrong checksum": changed,
    "gzip followed by text": Buffer.concat([gzip, Buffer.from("text")]),
    "gzip followed by zeros and text": Buffer.concat([gzip, Buffer.alloc(100), Buffer.from("text")]),
    "gzip followed by zeros and gzip": Buffer.concat([gzip, Buffer.alloc(100), gzip]),
    "zstd cut in a frame": zstd.subarray(0, 12),
    "zstd cut at its last byte": zstd.subarray(0, -1),
    "zstd followed by text": Buffer.concat([zstd, Buffer.from("text")]),
    "zstd followed by a part of a frame": Buffer.concat([zstd, zstd.subarray(0, 3)]),
    "zstd cut in a skippable frame": Buffer.concat([zstd, skippable(Buffer.alloc(50)).subarray(0, 30)]),
    "zstd with a damaged block": Buffer.concat([zstd.subarray(0, 12), Buffer.alloc(1, 0xff), zstd.subarray(13)]),
    xz: Buffer.from("fd377a585a000004", "hex"),
  };
  for (const [name, stored] of Object.entries(refused))
    it(`refuses ${name}`, async () => {
      for (const pieceBytes of [1, 13, 100_000])
        await assert.rejects(all(stored, pieceBytes), { code: "corrupt-compression" });
    });

  it("refuses encrypted layers by name", async () => {
    await assert.rejects(all(gzip, 100, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), /encrypted/);
  });
});

describe("detectCompression", () => {
  it("needs gzip's deflate and zstd's whole magic", () => {
    assert.equal(detectCompression(Buffer.from("1f8b08", "hex")), "gzip");
    assert.equal(detectCompression(Buffer.from("1f8b07", "hex")), "none");
    assert.equal(detectCompression(Buffer.from("28b52ffd", "hex")), "zstd");
    assert.equal(detectCompression(Buffer.from("28b52f", "hex")), "none");
    assert.equal(detectCompression(Buffer.from("502a4d1800000000", "hex")), "zstd");
  });
});
