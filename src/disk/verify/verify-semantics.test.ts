import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { resealed } from "../../../test/support/reseal.ts";
import * as t from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { MemorySource } from "../../filesystem/byte-source.ts";
import { blockBytes, dirent, inode as field } from "../../filesystem/erofs/constants.ts";
import { ErofsImage } from "../../filesystem/erofs/reader/erofs-image.ts";
import { openInnerFile } from "../../filesystem/erofs/reader/file-data.ts";
import { findEntry, lookup } from "../../filesystem/erofs/reader/lookup.ts";
import { CodedError } from "../../oci/coded-error.ts";
import { areaKind } from "../files-format.ts";
import { DiskReader } from "../reader/disk-reader.ts";
import { summarizeDisk } from "../reader/disk-summary.ts";
import { readLayerTree } from "../reader/layer-tree-reader.ts";
import { verifyDisk } from "./verify-disk.ts";

const scope = new AsyncDisposableStack();
let disk: Buffer;
let base: string;
let top: string;
let merged: string;

before(async () => {
  const folder = await temporaryDirectory(scope, "semantics");
  const layers = [
    t.tar(
      t.directory("etc/", { mode: 0o2750, gid: 12, xattrs: { "user.a": "b" } }),
      t.file("etc/hosts", "127.0.0.1"),
      t.file("etc/passwd", "root:x:0", { xattrs: { "user.note": "kept" } }),
      t.directory("old/"),
      t.file("old/one", "one"),
      t.symbolicLink("link", "etc/hosts"),
    ),
    t.tar(
      t.whiteout("etc/passwd"),
      t.directory("old/"),
      t.opaque("old"),
      t.file("old/two", "two"),
      t.file("new", "new"),
    ),
  ];
  const image = await makeImage(`${folder}/layout`, { layers: layers.map((tar) => ({ tar })) });
  const { path } = await buildTestDisk(folder, `${folder}/layout`, [image], { blobs: true, erofsCache: true });
  disk = await readFile(path);
  await resealed(disk, (_, { index }) => {
    const [{ tree, layers }] = index.images;
    [base, top, merged] = [layers[0].tree, layers[1].tree, tree ?? ""];
  });
});
after(() => scope.disposeAsync());

async function problemsOf(change: (bytes: Buffer, reader: DiskReader) => void | Promise<void>): Promise<string> {
  const { problems } = await verifyDisk(new MemorySource(await resealed(disk, change)));
  return problems.map(({ place, message }) => `${place}: ${message}`).join("\n");
}

/** Replaces text of the index by text of the same length. */
function edit(from: string, to: string): (bytes: Buffer, reader: DiskReader) => Promise<void> {
  assert.equal(from.length, to.length);
  return async (bytes, reader) => {
    const inode = await reader.lookup("nodewarm.json");
    const at = bytes.indexOf(from, inode.union * blockBytes);
    assert.ok(at > 0, `${from} is not in the index`);
    bytes.write(to, at);
  };
}

async function recordOf(reader: DiskReader, bytes: Buffer, folder: string, name: string): Promise<number> {
  const directory = await reader.lookup(folder);
  const entry = await findEntry(reader.image, directory, Buffer.from(name));
  assert.ok(entry);
  const { position = 0 } = await reader.image.extent(directory, 0);
  let at = position;
  while (Number(bytes.readBigUInt64LE(at)) !== entry.nid) at += dirent.bytes;
  return at;
}

/** Where all but contents and blobs lie: metadata of the disk and of layer images, index, table. */
async function structures(reader: DiskReader): Promise<{ start: number; length: number }[]> {
  const areas = Array.from({ length: reader.files.areaCount }, (_, i) => reader.files.area(i));
  const table = await reader.lookup("nodewarm.files");
  return [
    ...areas
      .filter(({ kind }) => kind !== areaKind.blobs)
      .map(({ firstBlock, blockCount }) => ({ start: firstBlock * blockBytes, length: blockCount * blockBytes })),
    { start: table.union * blockBytes, length: table.sizeBytes },
  ];
}

describe("where all digests are right, verify still finds", () => {
  it("nothing when nothing was changed", async () => {
    assert.equal(await problemsOf(() => {}), "");
  });

  it("an entry of a merged tree that is another file than in its layer", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      const other = await reader.lookup(`${base}/etc/hosts`);
      bytes.writeBigUInt64LE(BigInt(other.nid), await recordOf(reader, bytes, merged, "new"));
    });
    assert.match(problems, /\/images\/\w+\/new: is inode \d+, but that of its layer is \d+/);
  });

  it("a merged tree that points at a file outside of the layers", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      const other = await reader.lookup("nodewarm.json");
      bytes.writeBigUInt64LE(BigInt(other.nid), await recordOf(reader, bytes, merged, "new"));
    });
    assert.match(problems, /\/images\/\w+\/new: is inode/);
  });

  it("other attributes of a merged directory", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      bytes.writeUInt16LE(0o040700, (await reader.lookup(`${merged}/old`)).position + field.mode);
    });
    assert.match(problems, /\/images\/\w+\/old: has mode 040700 instead of 040755/);
  });

  it("a directory that its layer implies with other attributes than in the layer below", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      bytes.writeUInt32LE(5, (await reader.lookup(`${top}/etc`)).position + field.uid);
    });
    assert.match(problems, /\/layers\/\w+\/etc: is implied by its layer but does not have mode, owner and xattrs of/);
  });

  it("a name that no layer has any more to hide", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      // The whiteout becomes the device 1:3.
      bytes.writeUInt32LE(0x103, (await reader.lookup(`${top}/etc/passwd`)).position + field.union);
    });
    assert.match(problems, /\/images\/\w+\/etc\/passwd: is missing, but a layer has it/);
    assert.match(problems, /\.erofs:\/etc\/passwd: has another device number/);
  });

  it("attributes in which a layer image differs from its layer", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      bytes.writeUInt32LE(7, (await reader.lookup(`${base}/link`)).position + field.uid);
    });
    assert.match(problems, /\/erofs\/sha256\/\w\w\/\w+\.erofs:\/link: has owner 0:0 instead of 7:0/);
  });

  it("a layer image that is made of other blocks", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      const hex = base.slice("layers/".length);
      const file = await reader.lookup(`erofs/sha256/${hex.slice(0, 2)}/${hex}.erofs`);
      const map = file.position + field.bytes;
      const second = bytes.readUInt32LE(map + 4);
      bytes.writeUInt32LE(bytes.readUInt32LE(map + 8), map + 4);
      bytes.writeUInt32LE(second, map + 8);
    });
    assert.match(problems, /does not consist of its superblock, the layer's contents and its metadata/);
  });

  it("files with the contents of each other", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      const one = await reader.lookup(`${top}/old/two`);
      const other = await reader.lookup(`${top}/new`);
      bytes.writeUInt32LE(other.union, one.position + field.union);
      bytes.writeUInt32LE(one.union, other.position + field.union);
    });
    assert.match(problems, /its contents do not stand in the order of the format/);
  });

  it("a file whose blocks are no content", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      const inode = await reader.lookup(`${base}/etc/hosts`);
      bytes.writeUInt32LE(inode.sizeBytes - 1, inode.position + field.size);
    });
    assert.match(problems, /\/layers\/\w+\/etc\/hosts: .* is no content of \/nodewarm\.files/);
    assert.match(problems, /1 contents belong to no file of a layer/);
  });

  it("xattrs of trusted.* other than the opaque mark, and that with another value", async () => {
    const trusted = await problemsOf(async (bytes, reader) => {
      const inode = await reader.lookup(`${base}/etc/passwd`);
      const at = bytes.indexOf("note", inode.position) - 3;
      assert.equal(bytes[at], 1);
      bytes[at] = 4;
    });
    assert.match(trusted, /\/layers\/\w+\/etc\/passwd: has the xattr trusted\.note/);
    const opaque = await problemsOf(async (bytes, reader) => {
      const inode = await reader.lookup(`${top}/old`);
      const at = bytes.indexOf("overlay.opaquey", inode.position);
      bytes.write("n", at + "overlay.opaque".length);
    });
    assert.match(opaque, /with a value other than y/);
  });

  it("a blob that is not what its name says", async () => {
    const problems = await problemsOf((bytes) => {
      // In the compressed layer; the manifest and config are JSON and end in a brace.
      bytes[bytes.indexOf(Buffer.from([0x1f, 0x8b, 8])) + 4] ^= 1;
    });
    assert.match(problems, /\/blobs\/sha256\/\w+: is not what the digest in its name says/);
  });

  it("an index that contradicts the documents of its images", async () => {
    const { size, digest } = await new Promise<{ size: number; digest: string }>((resolve) => {
      void resealed(disk, (_, { index }) => resolve(index.images[0].layers[0]));
    });
    const other = String(size + 1).padStart(String(size).length);
    const problems = await problemsOf(
      edit(`"digest": "${digest}",\n          "size": ${size}`, `"digest": "${digest}",\n          "size": ${other}`),
    );
    assert.match(problems, /layers are not those of the manifest/);
    assert.match(problems, /says \d+ bytes for sha256:\w+, which has \d+/);
  });

  it("an index that contradicts itself or the folders", async () => {
    assert.match(
      await problemsOf(edit(`"tree": "${merged}"`, `"tree": "images/${"0".repeat(64)}"`)),
      /tree is images\/0+, not/,
    );
    assert.match(
      await problemsOf(edit('"erofsCache": true,', '"erofsCache":false,')),
      /"erofs", of which the index knows nothing/,
    );
    assert.match(await problemsOf(edit('"blobs": true,', '"blobs":false,')), /belongs to no image/);
    assert.match(await problemsOf(edit("2023-11-14", "2023-11-15")), /build time is not `created`/);
  });

  it("directories that hold themselves, in a layer and in a layer image, without following them for ever", async () => {
    const loop = async (bytes: Buffer, reader: DiskReader) => {
      const { nid } = await reader.lookup(base);
      bytes.writeBigUInt64LE(BigInt(nid), await recordOf(reader, bytes, base, "old"));
    };
    assert.match(await problemsOf(loop), /\/layers\/\w+\/old: is a directory that already has another place/);
    const hostile = await DiskReader.open(new MemorySource(await resealed(disk, loop)));
    await assert.rejects(readLayerTree(hostile, base), { code: "corrupt", message: /two places/ });
    await assert.rejects(summarizeDisk(hostile), { code: "corrupt", message: /two places/ });

    const problems = await problemsOf(async (bytes, reader) => {
      const hex = base.slice("layers/".length);
      const path = `erofs/sha256/${hex.slice(0, 2)}/${hex}.erofs`;
      const file = await reader.lookup(path);
      const inner = await ErofsImage.open(openInnerFile(reader.image, file, path));
      const root = await inner.root();
      const old = await lookup(inner, "old");
      // The layer image's metadata lies on the disk in one piece behind its superblock.
      const first = bytes.readUInt32LE(file.position + field.bytes) + 1;
      const start = (first - inner.superblock.metadataBlock) * blockBytes;
      let at = start + ((await inner.extent(root, 0)).position ?? 0);
      while (Number(bytes.readBigUInt64LE(at)) !== old.nid) at += dirent.bytes;
      bytes.writeBigUInt64LE(BigInt(root.nid), at);
    });
    assert.match(problems, /\.erofs:\/old: is a directory that already has another place/);
  });

  it("attributes of what Nodewarm adds", async () => {
    const problems = await problemsOf(async (bytes, reader) => {
      bytes.writeUInt32LE(1, (await reader.lookup("blobs")).position + field.uid);
    });
    assert.match(problems, /\/blobs: has other attributes than what Nodewarm adds/);
  });
});

it("a disk made by an enemy, all its digests right, makes verify neither crash nor hang", async () => {
  const reader = await DiskReader.open(new MemorySource(disk));
  const change = fc.record({
    region: fc.constantFrom(...(await structures(reader))),
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 0xff)),
    length: fc.integer({ min: 1, max: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = await resealed(disk, (copy) => {
        for (const { region, at, value, length } of changes) {
          const from = region.start + (at % region.length);
          copy.fill(value, from, Math.min(region.start + region.length, from + length));
        }
      });
      try {
        await verifyDisk(new MemorySource(bytes));
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
      }
    }),
    { numRuns: Number(process.env.NODEWARM_FUZZ_RUNS ?? 40) },
  );
});
