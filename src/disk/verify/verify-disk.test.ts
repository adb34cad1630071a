import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { type LayerInput, makeImage, mediaTypes, sha256 } from "../../../test/support/image-maker.ts";
import { imageOfLayout } from "../../../test/support/layout-image.ts";
import * as t from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { MemorySource } from "../../filesystem/byte-source.ts";
import { blockBytes, superblock } from "../../filesystem/erofs/constants.ts";
import { CodedError } from "../../oci/coded-error.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { DiskReader } from "../reader/disk-reader.ts";
import { verifyDisk } from "./verify-disk.ts";

const bytesOf = (seed: number, length: number) =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * seed + (i >>> 8)) & 0xff));

const base = t.tar(
  t.directory("etc/", { mtime: 1000 }),
  t.file("etc/passwd", "root:x:0:0\n", {
    mtime: 5,
    xattrs: {
      "user.note": "kept",
      "security.capability": Buffer.from("0100000200040000000000000000000000000000", "hex"),
    },
  }),
  t.directory("usr/", { uid: 70_000, mode: 0o2755 }),
  t.directory("usr/bin/", { uid: 3 }),
  t.file("usr/bin/tool", bytesOf(7, 1_200_000), { mode: 0o4755 }),
  t.hardLink("usr/bin/other", "usr/bin/tool"),
  t.symbolicLink("usr/link", "x".repeat(300)),
  t.symbolicLink("usr/short", "bin"),
  t.directory("dev/"),
  t.device("dev/null", "3", 1, 3),
  t.fifo("dev/pipe"),
  t.file("empty"),
  t.directory("many/"),
  ...Array.from({ length: 300 }, (_, i) => t.file(`many/file-with-a-name-${i}`, `${i % 17}`)),
);
const middle = t.tar(
  t.whiteout("etc/passwd"),
  t.file("usr/bin/new", "new"),
  t.gnuSparse("sparse", 4_000_000, [{ offset: 2_000_000, data: bytesOf(9, 5000) }]),
  t.gnuSparse("hole", 2_000_000, []),
);
const top = t.tar(
  t.directory("many/"),
  t.opaque("many"),
  t.file("many/only", "left"),
  t.whiteout("usr/short"),
  t.file("etc/passwd", "again\n"),
);
const stacks: LayerInput[][] = [
  [{ tar: base }, { tar: middle }, { tar: top }],
  [{ tar: base }, { tar: top, compression: "zstd" }],
  [{ tar: top }],
];

const variants = {
  plain: {},
  "with blobs and layer images": { blobs: true, erofsCache: true },
};

for (const [name, options] of Object.entries(variants)) {
  describe(`a disk ${name}`, () => {
    const scope = new AsyncDisposableStack();
    let disk: Buffer;
    before(async () => {
      const folder = await temporaryDirectory(scope, "verify");
      const images = [];
      for (const layers of stacks) images.push(await makeImage(`${folder}/layout`, { layers }));
      const { path } = await buildTestDisk(folder, `${folder}/layout`, images, options);
      disk = await readFile(path);
    });
    after(() => scope.disposeAsync());

    it("has nothing wrong, also with bytes behind its end", async () => {
      for (const source of [disk, Buffer.concat([disk, bytesOf(1, 5000)])]) {
        const result = await verifyDisk(new MemorySource(source));
        assert.deepEqual(result.problems, []);
        assert.ok(result.checked);
        assert.equal(result.checked.sizeBytes, disk.length);
        assert.equal(result.checked.mergedTrees, 2);
        assert.equal(result.checked.layerImages, "erofsCache" in options ? 3 : 0);
      }
    });

    it("shows every flipped bit, whatever it belongs to", async () => {
      const reader = await DiskReader.open(new MemorySource(Buffer.from(disk)));
      const regions = await regionsOf(reader);
      const flip = fc
        .constantFrom(...regions)
        .chain(({ start, length }) =>
          fc.record({ at: fc.integer({ min: start, max: start + length - 1 }), bit: fc.nat(7) }),
        );
      await fc.assert(
        fc.asyncProperty(flip, async ({ at, bit }) => {
          disk[at] ^= 1 << bit;
          try {
            assert.notDeepEqual((await verifyDisk(new MemorySource(disk))).problems, []);
          } catch (error) {
            if (!(error instanceof CodedError)) throw error;
          } finally {
            disk[at] ^= 1 << bit;
          }
        }),
        { numRuns: 60 },
      );
    });

    it("is refused when it is cut off", async () => {
      const { problems } = await verifyDisk(new MemorySource(disk.subarray(0, -1)));
      assert.match(problems[0].message, /cut off/);
    });
  });
}

type Region = { readonly start: number; readonly length: number };

/** The parts of a disk, so that small ones are hit as often as large ones. */
async function regionsOf(disk: DiskReader): Promise<Region[]> {
  const { files, image } = disk;
  const blocks = (first: number, count: number) => ({ start: first * blockBytes, length: count * blockBytes });
  const regions = Array.from({ length: files.areaCount }, (_, i) => files.area(i)).map(({ firstBlock, blockCount }) =>
    blocks(firstBlock, blockCount),
  );
  const last = files.smallCount - 1;
  regions.push(blocks(files.firstBlock(0), files.firstBlock(last) - files.firstBlock(0) + 1));
  const table = await disk.lookup("nodewarm.files");
  const end = table.union * blockBytes + table.sizeBytes;
  regions.push({ start: table.union * blockBytes, length: table.sizeBytes });
  regions.push({ start: end, length: image.sizeBytes - end });
  regions.push({ start: superblock.position, length: superblock.bytes });
  return regions;
}

it("looks at each index once, however often others list it", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const made = await makeImage(`${folder}/layout`, { layers: [] });
  const image = await imageOfLayout(`${folder}/layout`, made.manifest);
  const documents = [...image.documents];
  let below: Descriptor[] = [];
  for (let i = 0; i < 8; i++) {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: below }));
    const descriptor = { mediaType: mediaTypes.ociIndex, digest: sha256(bytes), size: bytes.length };
    documents.push({ descriptor, bytes });
    below = Array.from({ length: 20 }, () => descriptor);
  }
  const images = [{ ...image, target: below[0], documents }];
  const { path } = await buildTestDisk(folder, `${folder}/layout`, [made], { images });
  const { problems } = await verifyDisk(new MemorySource(await readFile(path)));
  assert.ok(problems.some(({ message }) => message === "target does not lead to the manifest"));
});
