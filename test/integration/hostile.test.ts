import assert from "node:assert/strict";
import { open, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { LayerError } from "../../src/layers/layer-error.ts";
import { layerLimits } from "../../src/layers/limits.ts";
import { readLayer } from "../../src/layers/read-layer.ts";
import { digestHex } from "../../src/oci/descriptor.ts";
import { limitValues } from "../../src/oci/limit.ts";
import { host, succeed } from "../support/cli.ts";
import { emptyFiles, writeTar, zeros } from "../support/hostile-layers.ts";
import { refusedBuild } from "../support/hostile-run.ts";
import {
  addBlob,
  addDocument,
  blobPath,
  type ImageInput,
  type LayerInput,
  type MadeImage,
  makeImage,
  mediaTypes,
  tagInLayout,
} from "../support/image-maker.ts";
import { MemorySink, sha256 } from "../support/layer-reading.ts";
import { directory, file, gnuLong, hardLink, pax, paxSparse, symbolicLink, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const fixtures = new AsyncDisposableStack();
let work: string;
let layout: string;
const sound = tar(directory("d"), file("d/f", "some text\n"));

before(async () => {
  work = await temporaryDirectory(fixtures, "hostile");
  layout = join(work, "layout");
});
after(() => fixtures.disposeAsync());

let images = 0;

async function tagged(input: ImageInput): Promise<{ argument: string; image: MadeImage }> {
  const image = await makeImage(layout, { platform: host, ...input });
  const tag = `image-${++images}`;
  await tagInLayout(layout, image.manifest, tag);
  return { argument: `oci:${layout}:${tag}`, image };
}

/** Another tar than `sound`: a layer whose diffID is known already is not read again. */
const unread = tar(directory("e"), file("e/f", "other text\n"));

/** A build of an image with a sound layer and one more is refused; the error names image, layer and the rest. */
async function assertRefused(layer: LayerInput, expected: RegExp, options: readonly string[] = []): Promise<void> {
  const { argument, image } = await tagged({ layers: [{ tar: sound }, layer] });
  const error = await refusedBuild(argument, options);
  assert.match(error, expected);
  assert.ok(error.includes(image.manifest.digest), error);
  assert.ok(error.includes(image.layers[1]?.diffID ?? "") || error.includes(image.layers[1]?.descriptor.digest ?? ""));
}

const deep = "d/".repeat(1_000_000);

const layers: readonly (readonly [what: string, tar: () => Buffer, expected: RegExp, options?: readonly string[]])[] = [
  ["a name that climbs", () => tar(file("../escape", "x")), /"\.\.\/escape".*out of the root/],
  ["a name that climbs within", () => tar(file("a/../../escape", "x")), /"a\/\.\.\/\.\.\/escape".*out of the root/],
  ["a whiteout that climbs", () => tar(file("../.wh.f")), /\.\.\/\.wh\.f.*out of the root/],
  [
    "links in a circle",
    () => tar(symbolicLink("a", "b"), symbolicLink("b", "a"), file("a/f", "x")),
    /"a\/f".*too many links/,
  ],
  ["a hard link out", () => tar(hardLink("h", "../../etc/passwd")), /"h".*out of the root/],
  ["a hard link to what is not there", () => tar(hardLink("h", "/etc/passwd")), /"h".*not in the same layer/],
  [
    "a hard link out through a link",
    () => tar(symbolicLink("l", "/../../etc"), hardLink("h", "l/passwd")),
    /"h".*not in the same layer/,
  ],
  ["a path of 10^6 folders (PAX)", () => tar(pax({ path: `${deep}f` }), file("cut")), /--limit pax-bytes/],
  ["a path of 10^6 folders (GNU)", () => tar(gnuLong("L", `${deep}f`), file("cut")), /--limit (pax|path)-bytes/],
  [
    "a path of 10^6 folders, the limits moved",
    () => tar(pax({ path: `${deep}f` }), file("cut")),
    /--limit path-depth/,
    ["--limit", "pax-bytes=10000000", "--limit", "path-bytes=10000000"],
  ],
  ["a sparse file of a petabyte", () => tar(paxSparse("1.0", "s", 2 ** 50, [])), /"s".*--limit file-bytes/],
  [
    "many sparse files of a terabyte",
    () => tar(...Array.from({ length: 2000 }, (_, i) => paxSparse("1.0", `s${i}`, 2 ** 40, []))),
    /--limit layer-(ratio|bytes)/,
  ],
  ["a cut tar", () => file("f", "x".repeat(5000)).subarray(0, 2000), /"f".*cut short/],
];

describe("a hostile layer", () => {
  for (const [what, make, expected, options] of layers) {
    it(`with ${what} is refused`, () => assertRefused({ tar: make() }, expected, options));
  }

  it("with absolute names is taken, below the root", async () => {
    await using scope = new AsyncDisposableStack();
    const cwd = await temporaryDirectory(scope, "hostile");
    const { argument, image } = await tagged({
      layers: [{ tar: tar(file("/etc/absolute", "x"), hardLink("/h", "/etc/absolute")) }],
    });
    await succeed(["build", argument, "-o", "disk.erofs"], { cwd });
    const tree = `layers/${digestHex(image.layers[0]?.diffID ?? sha256(sound))}`;
    for (const path of [`${tree}/etc/absolute`, `${tree}/h`]) {
      assert.equal((await succeed(["cat", "disk.erofs", path], { cwd })).stdout, "x");
    }
    await succeed(["verify", "disk.erofs"], { cwd });
  });

  it("that is a gzip bomb is refused", async () => {
    const path = join(work, "bomb.tar");
    await writeTar(path, zeros(300 * 2 ** 20));
    await assertRefused({ tar: path, level: 9 }, /--limit layer-ratio/);
    await assertRefused({ tar: path, compression: "zstd" }, /--limit layer-ratio/);
  });

  it("of too many empty files is refused long before its end", async () => {
    const path = join(work, "many.tar");
    await writeTar(path, emptyFiles(400_000));
    await assertRefused({ tar: path, level: 1 }, /--limit layer-entries/, ["--limit", "layer-entries=100000"]);
  });

  it("of 10^7 empty files is refused by the limit that holds when none is given", async () => {
    const limits = limitValues(layerLimits);
    let read = 0;
    async function* input() {
      for (const piece of emptyFiles(10_000_000)) {
        read += piece.length;
        yield piece;
      }
    }
    const descriptor = { mediaType: mediaTypes.ociLayer, digest: sha256(sound), size: 10_000_000 * 512 };
    const signal = new AbortController().signal;
    const reading = readLayer({
      input: input(),
      descriptor,
      diffID: sha256(sound),
      sink: new MemorySink(),
      limits,
      signal,
    });
    await assert.rejects(reading, (error) => error instanceof LayerError && /layer-entries/.test(error.message));
    assert.ok(read < 1.01 * limits["layer-entries"] * 512, "no more is read than the limit allows");
  });

  const gzip = gzipSync(unread);
  const zstd = zstdCompressSync(unread);
  const garbage = Buffer.from("some garbage");
  const broken: readonly (readonly [string, Buffer, "gzip" | "zstd", RegExp])[] = [
    ["cut gzip", gzip.subarray(0, -20), "gzip", /cut short/],
    ["gzip with garbage behind it", Buffer.concat([gzip, garbage]), "gzip", /gzip stream is damaged/],
    ["cut zstd", zstd.subarray(0, -20), "zstd", /cut short/],
    ["zstd with garbage behind it", Buffer.concat([zstd, garbage]), "zstd", /zstd stream is damaged/],
    ["nothing of what it should be", gzipSync(tar(file("other", "x"))), "gzip", /diffID|digest/i],
  ];
  for (const [what, blob, compression, expected] of broken) {
    it(`stored as ${what} is refused`, () => assertRefused({ tar: unread, blob, compression }, expected));
  }

  it("that is not what its descriptor says is refused", async () => {
    const { argument, image } = await tagged({ layers: [{ tar: tar(file("changed", "one")) }] });
    const path = blobPath(layout, image.layers[0]?.descriptor.digest ?? sha256(sound));
    const bytes = await readFile(path);
    const other = gzipSync(tar(file("changed", "two")));
    await writeFile(
      path,
      other.length === bytes.length ? other : Buffer.concat([bytes.subarray(0, -1), Buffer.of(0xff)]),
    );
    assert.match(await refusedBuild(argument), /digest|damaged/);
    await writeFile(path, Buffer.concat([bytes, garbage]));
    assert.match(await refusedBuild(argument), /size|bytes/);
    await writeFile(path, bytes.subarray(0, -1));
    assert.match(await refusedBuild(argument), /size|bytes|short/);
  });
});

describe("a hostile document", () => {
  it("that lists 10^5 layers is refused", async () => {
    const layer = { mediaType: mediaTypes.ociLayer, digest: sha256(sound), size: sound.length };
    const many = Array.from({ length: 100_000 }, () => layer);
    const { argument } = await tagged({ layers: [], manifest: { layers: many } });
    assert.match(await refusedBuild(argument), /--limit manifest-bytes/);
    assert.match(
      await refusedBuild(argument, ["--limit", "manifest-bytes=100000000"]),
      /100000 layers.*--limit image-layers/,
    );
  });

  it("of a gigabyte is refused unread", async () => {
    const { argument, image } = await tagged({ layers: [{ tar: sound }], created: "2024-01-01T00:00:00Z" });
    await truncate(blobPath(layout, image.config.digest), 2 ** 30);
    assert.match(await refusedBuild(argument), /config.*(bytes|size)/);
    const digest = sha256(Buffer.from("never read"));
    await (await open(blobPath(layout, digest), "w")).close();
    await truncate(blobPath(layout, digest), 2 ** 30);
    const config = { mediaType: mediaTypes.ociConfig, digest, size: 2 ** 30 };
    const large = await tagged({ layers: [{ tar: sound }], manifest: { config } });
    assert.match(await refusedBuild(large.argument), /config.*--limit config-bytes/);
  });

  it("with a wrong diffID, too many diffIDs or none is refused", async () => {
    const wrong = sha256(Buffer.from("another tar"));
    const lists: readonly (readonly [string[], RegExp])[] = [
      [[wrong], new RegExp(wrong)],
      [[wrong, wrong], /2 rootfs\.diff_ids.*1 layers/],
      [[], /0 rootfs\.diff_ids.*1 layers/],
    ];
    for (const [diffIDs, expected] of lists) {
      const config = { rootfs: { type: "layers", diff_ids: diffIDs } };
      const { argument } = await tagged({ layers: [{ tar: sound }], config });
      assert.match(await refusedBuild(argument), expected);
    }
  });

  it("that is no JSON, nests without end or is manifest and index at once is refused", async () => {
    const text = (content: string) => addBlob(layout, Buffer.from(content), mediaTypes.ociManifest);
    const both = { schemaVersion: 2, manifests: [], layers: [], config: {} };
    const targets = [
      await text("{"),
      await text("[".repeat(1_000_000)),
      await addDocument(layout, both, mediaTypes.ociManifest),
    ];
    for (const target of targets) {
      const tag = `image-${++images}`;
      await tagInLayout(layout, { ...target, platform: host }, tag);
      assert.match(await refusedBuild(`oci:${layout}:${tag}`), /is not JSON|index and a manifest/);
    }
  });
});
