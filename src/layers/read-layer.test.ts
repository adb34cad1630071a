import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import {
  gzipLayer,
  MemorySink,
  pieces,
  readStored,
  readTar,
  sha256,
  showTree,
} from "../../test/support/layer-reading.ts";
import {
  directory,
  file,
  hardLink,
  header,
  pax,
  paxSparse,
  symbolicLink,
  tar,
  whiteout,
} from "../../test/support/tar-maker.ts";
import { limitValues } from "../oci/limit.ts";
import { chunkBytes } from "./content.ts";
import { layerLimits } from "./limits.ts";
import { type ReadLayerOptions, readLayer } from "./read-layer.ts";

const simple = tar(directory("d"), file("d/f", "text"), file("g", "text"), file("empty"));

function options(stored: Uint8Array, changes: Partial<ReadLayerOptions> = {}): ReadLayerOptions {
  return {
    input: pieces(stored, 1000),
    descriptor: { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: sha256(stored), size: stored.length },
    diffID: sha256(stored),
    sink: new MemorySink(),
    limits: limitValues(layerLimits),
    signal: new AbortController().signal,
    ...changes,
  };
}

describe("readLayer", () => {
  it("counts what it read", async () => {
    const { sink, ...result } = await gzipLayer(simple);
    assert.equal(result.uncompressedBytes, simple.length);
    assert.equal(result.compressedBytes, gzipSync(simple).length);
    assert.equal(result.entryCount, 4);
    assert.equal(result.contentCount, 1);
    assert.equal(result.fileBytes, 8);
    assert.deepEqual([...result.deadContents], []);
    assert.equal(sink.contents[0]?.toString(), "text");
  });

  it("tells progress up to the size of the descriptor", async () => {
    const seen: number[] = [];
    await readLayer(options(simple, { onProgress: (bytes) => seen.push(bytes) }));
    assert.equal(seen.at(-1), simple.length);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  });

  it("gives each content once, and names those that no file has in the end", async () => {
    const large = Buffer.alloc(chunkBytes + 1, 1);
    const { sink, deadContents, contentCount } = await readTar(
      tar(file("a", "dead"), file("a", "alive"), file("b", "alive"), file("l", large), file("m", large)),
    );
    assert.deepEqual(
      sink.contents.map((content) => content.length),
      [4, 5, large.length],
    );
    assert.equal(contentCount, 3);
    assert.deepEqual([...deadContents], [0]);
  });

  it("waits for the sink between pieces", async () => {
    const { sink } = await readTar(tar(file("f", Buffer.alloc(300_000))), { pieceBytes: 10_000 });
    assert.ok(sink.readyCalls >= 30);
  });

  it("keeps whole chunks of holes without bytes, and fills others up", async () => {
    const size = 10 * chunkBytes + 9;
    const parts = [
      { offset: 3, data: "abc" },
      { offset: 4 * chunkBytes - 1, data: "xy" },
    ];
    const { sink } = await readTar(tar(paxSparse("1.0", "s", size, parts)));
    const expected = Buffer.alloc(size);
    expected.write("abc", 3);
    expected.write("xy", 4 * chunkBytes - 1);
    assert.ok(sink.contents[0]?.equals(expected));
    assert.equal(sink.holes, 11 - 3);
  });

  it("lets a hard link's content count once", async () => {
    const { fileBytes } = await readTar(tar(file("a", "12345"), hardLink("b", "a")));
    assert.equal(fileBytes, 5);
  });

  it("lists what it dropped", async () => {
    const xattrs = { "trusted.a": "1", "trusted.b": "1", "odd.x": "1" };
    const { dropped } = await readTar(tar(file("f", "", { xattrs }), file("g", "", { xattrs })));
    assert.deepEqual(
      dropped.map(({ what, count }) => [what, count]),
      [
        ['"odd.*" xattrs', 2],
        ["trusted.* xattrs", 4],
      ],
    );
  });

  it("lets whiteouts delete in a layer without layers below", async () => {
    const layer = tar(file("a", "x"), file("b", "y"), whiteout("a"), whiteout("never"));
    const { tree, sink } = await readTar(layer, { isBase: true });
    assert.deepEqual([...showTree(tree, sink.contents).keys()], ["/", "b"]);
  });

  it("gives back only buffers of their exact size", async () => {
    const { tree } = await readTar(tar(...Array.from({ length: 50 }, (_, i) => symbolicLink(`l${i}`, `t${i}`))));
    for (const value of Object.values(tree))
      if (ArrayBuffer.isView(value)) assert.equal(value.byteLength, value.buffer.byteLength);
  });
});

describe("readLayer verifies", () => {
  const other = sha256(Buffer.from("other"));

  it("the digest of the stored bytes", async () => {
    const { descriptor } = options(simple);
    await assert.rejects(
      readLayer(options(simple, { descriptor: { ...descriptor, digest: other } })),
      (error: Error & { code?: string }) =>
        error.code === "digest-mismatch" && error.message.includes(other) && error.message.includes(sha256(simple)),
    );
  });

  it("the digest of the stored bytes, as who hashed them before says", async () => {
    const digest = sha256(simple).slice("sha256:".length);
    await readLayer(options(simple, { inputDigest: () => digest }));
    await assert.rejects(readLayer(options(simple, { inputDigest: () => "00".repeat(32) })), {
      code: "digest-mismatch",
    });
  });

  it("the digest of the tar", async () => {
    await assert.rejects(
      readLayer(options(simple, { diffID: other })),
      (error: Error & { code?: string }) =>
        error.code === "diff-id-mismatch" && error.message.includes(other) && error.message.includes(sha256(simple)),
    );
  });

  it("the size, in both directions", async () => {
    const { descriptor } = options(simple);
    for (const size of [simple.length - 1, simple.length + 1])
      await assert.rejects(readLayer(options(simple, { descriptor: { ...descriptor, size } })), {
        code: "size-mismatch",
      });
  });

  it("stops reading when there are more bytes than the manifest says", async () => {
    let given = 0;
    async function* endless() {
      for (;;) {
        given += 1000;
        yield Buffer.alloc(1000);
      }
    }
    await assert.rejects(readLayer(options(simple, { input: endless() })), { code: "size-mismatch" });
    assert.ok(given < simple.length + 10_000);
  });

  it("blames wrong bytes before the nonsense they hold", async () => {
    const broken = Buffer.from(gzipSync(simple));
    broken[20] = (broken[20] as number) ^ 0xff;
    const { descriptor } = options(gzipSync(simple));
    await assert.rejects(readLayer(options(broken, { descriptor })), { code: "digest-mismatch" });
  });
});

describe("readLayer stops", () => {
  it("with the error of its input", async () => {
    async function* failing() {
      yield simple.subarray(0, 100);
      throw new Error("connection lost");
    }
    await assert.rejects(readLayer(options(simple, { input: failing() })), /connection lost/);
    const gzip = gzipSync(simple);
    async function* failingGzip() {
      yield gzip.subarray(0, 50);
      throw new Error("connection lost");
    }
    await assert.rejects(readLayer(options(gzip, { input: failingGzip() })), /connection lost/);
  });

  it("with the error of its sink", async () => {
    const sink = new MemorySink();
    sink.small = () => {
      throw new Error("disk full");
    };
    await assert.rejects(readLayer(options(simple, { sink })), /disk full/);
  });

  it("when its signal aborts, even if the input hangs", async () => {
    const controller = new AbortController();
    async function* hanging() {
      yield gzipSync(simple).subarray(0, 50);
      setTimeout(() => controller.abort(new Error("enough")), 20);
      await new Promise(() => {});
    }
    await assert.rejects(readLayer(options(simple, { input: hanging(), signal: controller.signal })), /enough/);
  });
});

describe("readLayer limits", () => {
  const cases: readonly [string, Record<string, number>, () => Buffer][] = [
    ["layer-bytes", { "layer-bytes": 1000 }, () => simple],
    ["layer-entries", { "layer-entries": 3 }, () => simple],
    ["layer-entries", { "layer-entries": 3 }, () => tar(file("a/b/c/d/e"))],
    ["layer-name-bytes", { "layer-name-bytes": 100 }, () => tar(symbolicLink("l", "t".repeat(99)), file("abcdef"))],
    [
      "layer-attributes",
      { "layer-attributes": 3 },
      () => tar(...[1, 2, 3, 4].map((uid) => file(`f${uid}`, "", { uid }))),
    ],
    ["layer-xattr-bytes", { "layer-xattr-bytes": 50 }, () => tar(file("f", "", { xattrs: { "user.a": "1" } }))],
    ["file-bytes", { "file-bytes": 3 }, () => simple],
    ["path-bytes", { "path-bytes": 10 }, () => tar(file("12345/789/b"))],
    ["path-depth", { "path-depth": 2 }, () => tar(file("a/b/c"))],
    ["xattr-bytes", { "xattr-bytes": 10 }, () => tar(file("f", "", { xattrs: { "user.a": "12345" } }))],
    ["xattr-count", { "xattr-count": 1 }, () => tar(file("f", "", { xattrs: { "user.a": "1", "user.b": "1" } }))],
    ["pax-bytes", { "pax-bytes": 100 }, () => tar(pax({ comment: "c".repeat(200) }), file("f"))],
    [
      "pax-bytes",
      { "pax-bytes": 600 },
      () =>
        tar(
          paxSparse(
            "1.0",
            "s",
            10_000,
            Array.from({ length: 300 }, (_, i) => ({ offset: 2 * i, data: "x" })),
          ),
        ),
    ],
  ];
  for (const [name, limits, make] of cases)
    it(`${name}: says which option moves it`, async () => {
      await assert.rejects(readTar(make(), { limits }), {
        code: "limit",
        message: new RegExp(`--limit ${name}=VALUE`),
      });
    });

  it("stop a decompression bomb early", async () => {
    const zeros = Buffer.alloc(2 ** 20);
    const stored = zstdCompressSync(
      Buffer.concat([header({ name: "z", size: 200 * 2 ** 20 }), ...Array(200).fill(zeros)]),
      {
        params: { [constants.ZSTD_c_compressionLevel]: 1 },
      },
    );
    await assert.rejects(readStored(stored, sha256(stored)), { code: "limit", message: /layer-ratio/ });
  });

  it("stop sparse files that are cheap to write and dear to fill", async () => {
    const parts = Array.from({ length: 300 }, (_, i) => ({ offset: i * chunkBytes, data: "x" }));
    const layer = tar(paxSparse("0.1", "s", 300 * chunkBytes, parts));
    await assert.rejects(readTar(layer, { limits: { "layer-ratio": 20 } }), { code: "limit", message: /layer-ratio/ });
  });

  it("stop paths that lead through links too often", async () => {
    const links = Array.from({ length: 60 }, (_, i) => symbolicLink(`l${i}`, i === 0 ? "d" : `l${i - 1}`));
    await assert.rejects(
      readTar(tar(...links.reverse(), file("l59/x", "x"), file("l59/l59/y"), symbolicLink("s", "s/s"), file("s/z"))),
      {
        code: "refused-entry",
      },
    );
  });
});

describe("messages", () => {
  it("name entries so that people can read them", async () => {
    await assert.rejects(
      readTar(tar(hardLink(Buffer.from("a\x1b[2Jb\xff", "latin1"), "x"))),
      /tar entry "a\\x1b\[2Jb\\xff": it is a hard link to "x"/,
    );
    await assert.rejects(readTar(tar(hardLink("ümläut\n", "x"))), /tar entry "ümläut\\x0a"/);
  });
});
