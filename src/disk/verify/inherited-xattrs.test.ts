import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { resealed } from "../../../test/support/reseal.ts";
import * as t from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { MemorySource } from "../../filesystem/byte-source.ts";
import { inode as field } from "../../filesystem/erofs/constants.ts";
import { DiskReader } from "../reader/disk-reader.ts";
import { hasAcls } from "./inherited-xattrs.ts";
import { verifyDisk } from "./verify-disk.ts";

/** Owner rw, user 1000 rw, group r, mask rw, others r (POSIX ACL xattrs, version 2). */
const acl = Buffer.from(
  "02000000" + "01000600ffffffff" + "02000600e8030000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff",
  "hex",
);
const access = "system.posix_acl_access";
const inherited = "system.posix_acl_default";

/** A layer on two others, whose directory gets its own entry late: it keeps what those give it. */
async function makeDisk(folder: string, erofsCache: boolean, isAclBelow: boolean): Promise<Buffer> {
  const below = (note: string) =>
    t.tar(
      t.directory("kept", { mode: 0o755, xattrs: { "user.note": note, ...(isAclBelow && { [inherited]: acl }) } }),
      t.directory("other"),
    );
  const top = t.tar(
    t.file("kept/file", "f", {
      mode: 0o664,
      xattrs: { "user.own": "of the file", ...(!isAclBelow && { [access]: acl }) },
    }),
    t.directory("kept", { xattrs: { "user.own": "of the directory" } }),
  );
  const images = [];
  for (const note of ["first below", "other below"])
    images.push(await makeImage(`${folder}/layout`, { layers: [{ tar: below(note) }, { tar: top }] }));
  return readFile((await buildTestDisk(folder, `${folder}/layout`, images, { erofsCache })).path);
}

for (const [erofsCache, isAclBelow] of [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const) {
  const what = `${erofsCache ? "layer images" : "none"}, ${isAclBelow ? "" : "no "}ACLs below`;
  describe(`of layers that inherit (${what}), where all digests are right, verify`, () => {
    const scope = new AsyncDisposableStack();
    let disk: Buffer;
    let trees: readonly string[];

    before(async () => {
      disk = await makeDisk(await temporaryDirectory(scope, "inherits"), erofsCache, isAclBelow);
      await resealed(disk, (_, { index }) => {
        const tops = index.images.flatMap(({ layers }) => layers.slice(1));
        assert.ok(tops.every((layer) => layer.inherits));
        trees = tops.map(({ tree }) => tree);
      });
      assert.equal(new Set(trees).size, 2);
    });
    after(() => scope.disposeAsync());

    async function problemsOf(change: (bytes: Buffer, reader: DiskReader) => void | Promise<void>): Promise<string> {
      const { problems } = await verifyDisk(new MemorySource(await resealed(disk, change)));
      return problems.map(({ place, message }) => `${place}: ${message}`).join("\n");
    }

    /** Flips a bit in the first place behind the inode of an entry that has those bytes. */
    const flip = (path: string, where: Uint8Array | string) => async (bytes: Buffer, reader: DiskReader) => {
      const { position } = await reader.lookup(path);
      const at = bytes.indexOf(where, position);
      assert.ok(at > position && at < position + 512, `${path}: ${where}`);
      const last = at + where.length - 1;
      bytes.writeUInt8(bytes.readUInt8(last) ^ 1, last);
    };

    it("finds nothing when nothing was changed", async () => {
      assert.equal(await problemsOf(() => {}), "");
    });

    it("finds an xattr of a directory that is neither the layer's nor of the layers below", async () => {
      for (const tree of trees) {
        for (const where of ["of the directory", " below"])
          assert.match(await problemsOf(flip(`${tree}/kept`, where)), /\/kept: has other xattrs/, where);
        // Names count as well.
        assert.match(await problemsOf(flip(`${tree}/kept`, "note")), /\/kept: has other xattrs/);
      }
    });

    it("finds an xattr of a file that is not the layer's", async () => {
      for (const tree of trees)
        assert.match(await problemsOf(flip(`${tree}/kept/file`, "of the file")), /\/kept\/file: has other xattrs/);
    });

    if (erofsCache) {
      it("goes on with other trees where a directory below cannot be read", async () => {
        const problems = await problemsOf(async (bytes, reader) => {
          const [{ layers }] = reader.index.images;
          const { position, headerBytes } = await reader.lookup(`${layers[0].tree}/kept`);
          // The size of the first xattr's value: more than there is.
          bytes.writeUInt16LE(0xffff, position + headerBytes + 12 + 2);
          bytes.writeUInt32LE(7, (await reader.lookup(`${layers[0].tree}/other`)).position + field.uid);
        });
        assert.match(problems, new RegExp(`^/(?:${trees.join("|")}): .* has an xattr that does not fit$`, "m"));
        assert.match(problems, /\/images\/\w+\/other: has owner 0:0 instead of 7:0/);
        assert.match(problems, /\.erofs:\/other: has owner 0:0 instead of 7:0/);
      });
    }

    it("looks for ACLs no longer than it is told to", async () => {
      const reader = await DiskReader.open(new MemorySource(disk));
      const reason = new Error("enough");
      const looking = hasAcls(reader, await reader.lookup(trees[0] ?? ""), AbortSignal.abort(reason));
      await assert.rejects(looking, reason);
    });

    if (!isAclBelow && erofsCache) {
      it("finds an ACL of a file that is not the layer's", async () => {
        for (const tree of trees)
          assert.match(await problemsOf(flip(`${tree}/kept/file`, acl)), /\/kept\/file: has other xattrs/);
      });
    }
  });
}
