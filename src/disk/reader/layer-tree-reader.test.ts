import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { blobPath, makeImage } from "../../../test/support/image-maker.ts";
import * as t from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import type { ContentSink } from "../../layers/content.ts";
import type { LayerTree } from "../../layers/layer-tree.ts";
import { layerLimits } from "../../layers/limits.ts";
import { readLayer } from "../../layers/read-layer.ts";
import { limitValues } from "../../oci/limit.ts";
import { DiskReader } from "./disk-reader.ts";
import { readLayerTree } from "./layer-tree-reader.ts";

const noise = (seed: number, length: number) => {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * seed + (i >>> 8) * 31) & 0xff;
  return bytes;
};

const archive = t.tar(
  t.directory("b/", { mtime: 77, uid: 70_000, xattrs: { "user.a": "1" } }),
  t.file("b/second", "second", { mtime: 12, mode: 0o4755 }),
  t.file("b/first", "first"),
  t.directory("a/"),
  t.file("a/large", noise(3, 2_300_000)),
  t.hardLink("a/again", "a/large"),
  t.file("a/copy", noise(3, 2_300_000), { mtime: 99 }),
  t.gnuSparse("sparse", 5_000_000, [{ offset: 2_100_000, data: noise(5, 100) }]),
  t.file("empty"),
  t.hardLink("a/empty", "empty"),
  t.symbolicLink("link", "a/large"),
  t.device("b/device", "4", 8, 300),
  t.fifo("b/fifo"),
  t.whiteout("b/gone"),
  t.opaque("a"),
  t.file("a/second", "second"),
);

class DigestSink implements ContentSink {
  readonly contents: string[] = [];
  #chunks: Uint8Array[] = [];
  small(digest: Uint8Array): void {
    this.contents.push(Buffer.from(digest).toString("hex"));
  }
  beginLarge(): void {
    this.#chunks = [];
  }
  chunk(digest: Uint8Array): void {
    this.#chunks.push(Uint8Array.from(digest));
  }
  endLarge(_key: Uint8Array, isNew: boolean): void {
    if (isNew) this.contents.push(Buffer.concat(this.#chunks).toString("hex"));
  }
  room(sizeBytes: number): Uint8Array {
    return new Uint8Array(sizeBytes);
  }
  async ready(): Promise<void> {}
}

/** The tree without the freedom of numbering attributes. */
function plain({ attribute, attributes, whiteouts: _, ...tree }: LayerTree): unknown {
  const shown = Array.from(attribute, (number) => {
    const { mode, uid, gid, xattrs } = attributes[number];
    return [mode, uid, gid, xattrs.map(({ name, value }) => `${Buffer.from(name)}=${Buffer.from(value)}`)];
  });
  return { ...tree, attributes: shown };
}

test("a layer's tree read from a disk is the tree that its tar gives, with the same contents in the same order", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "tree");
  const image = await makeImage(`${folder}/layout`, { layers: [{ tar: archive }] });
  const [{ descriptor, diffID }] = image.layers;
  const { path } = await buildTestDisk(folder, `${folder}/layout`, [image]);

  const sink = new DigestSink();
  const blob = await readFile(blobPath(`${folder}/layout`, descriptor.digest));
  const expected = await readLayer({
    input: (async function* () {
      yield blob;
    })(),
    descriptor,
    diffID,
    isBase: true,
    sink,
    limits: limitValues(layerLimits),
    signal: new AbortController().signal,
  });

  const disk = await DiskReader.openPath(path);
  scope.defer(() => disk.close());
  const { tree, contents } = await readLayerTree(disk, disk.index.images[0].layers[0].tree);
  assert.deepEqual(plain(tree), plain(expected.tree));
  const digests = Array.from(contents, (content) => {
    const digest = disk.files.isLarge(content) ? disk.files.chunkDigests(content) : disk.files.smallDigest(content);
    return digest.toString("hex");
  });
  assert.deepEqual(digests, sink.contents);

  const large = contents.find((content) => disk.files.sizeBytes(content) === 2_300_000) ?? -1;
  const pieces: Buffer[] = [];
  for await (const { data } of disk.contentChunks(large)) pieces.push(Buffer.from(data ?? []));
  assert.ok(Buffer.concat(pieces).equals(noise(3, 2_300_000)));

  await assert.rejects(readLayerTree(disk, "layers/none"), { code: "not-found" });
  await assert.rejects(readLayerTree(disk, disk.index.images[0].layers[0].tree, { maxEntries: 5 }), {
    name: "DiskError",
    code: "limit",
  });
});
