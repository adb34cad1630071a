import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { link, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import fc from "fast-check";
import { MemorySource } from "../byte-source.ts";
import { checkErofs } from "./checker.ts";
import { dirent, inode as inodeField, superblock } from "./constants.ts";
import { ErofsError } from "./erofs-error.ts";
import { crc32c } from "./reader/crc32c.ts";
import { ErofsImage } from "./reader/erofs-image.ts";
import { readFileData } from "./reader/file-data.ts";
import { type Inode, isDirectory, isRegular, isSymbolicLink } from "./reader/inode-parser.ts";
import { directoryEntries, findEntry, lookup } from "./reader/lookup.ts";

let sound: Buffer;
let chunked: Buffer;

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), "nodewarm-check-"));
  const tree = join(folder, "tree");
  await mkdir(join(tree, "dir", "inner"), { recursive: true });
  await writeFile(join(tree, "file"), Buffer.alloc(9000, 1));
  await writeFile(join(tree, "dir", "one"), "one");
  await link(join(tree, "dir", "one"), join(tree, "dir", "two"));
  await symlink("file", join(tree, "link"));
  execFileSync("setfattr", ["-n", "user.a", "-v", "b", join(tree, "file")]);
  const make = async (...flags: string[]) => {
    const path = join(folder, "image.erofs");
    const all = ["--quiet", "-T0", "-x100000", "-E", "force-inode-extended", ...flags, path, tree];
    execFileSync("mkfs.erofs", all, { stdio: "ignore" });
    return readFile(path);
  };
  sound = await make();
  chunked = await make("--chunksize=4096");
  await rm(folder, { recursive: true });
});

/** A copy of the image with a change and a checksum that is right again. */
async function problemsOf(change: (image: ErofsImage, bytes: Buffer) => void | Promise<void>): Promise<string[]> {
  const bytes = Buffer.from(sound);
  await change(await ErofsImage.open(new MemorySource(bytes)), bytes);
  fixChecksum(bytes);
  const { problems } = await checkErofs(await ErofsImage.open(new MemorySource(bytes)));
  return problems.map(({ place, message }) => `${place}: ${message}`);
}

function fixChecksum(bytes: Buffer): void {
  bytes.writeUInt32LE(0, superblock.position + superblock.checksum);
  const checksum = crc32c(0xffff_ffff, bytes.subarray(superblock.position, 4096));
  bytes.writeUInt32LE(checksum, superblock.position + superblock.checksum);
}

/** Where the record of an entry lies in the image. */
async function recordOf(image: ErofsImage, bytes: Buffer, folder: string, name: string): Promise<number> {
  const directory = await lookup(image, folder);
  const entry = await findEntry(image, directory, Buffer.from(name));
  assert.ok(entry);
  const extent = await image.extent(directory, 0);
  const start = extent.position ?? 0;
  for (let at = start; at < start + extent.length; at += dirent.bytes) {
    if (Number(bytes.readBigUInt64LE(at)) !== entry.nid) continue;
    const nameAt = start + bytes.readUInt16LE(at + dirent.nameOffset);
    if (bytes.toString("latin1", nameAt, nameAt + name.length) === name) return at;
  }
  throw new Error(`no record of ${name}`);
}

describe("the checker finds", () => {
  it("nothing in a sound image", async () => {
    assert.deepEqual(await problemsOf(() => {}), []);
  });

  it("a link count that is not the number of entries", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      bytes.writeUInt32LE(3, (await lookup(image, "dir/one")).position + inodeField.linkCount);
    });
    assert.match(problems.join("\n"), /inode \d+ has 1 links more than entries/);
  });

  it("a directory's link count that is not that of its directories", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      bytes.writeUInt32LE(2, (await lookup(image, "dir")).position + inodeField.linkCount);
    });
    assert.deepEqual(problems, ["/dir: has 2 links, but 1 directories in it"]);
  });

  it("a directory with two places, and one that holds itself", async () => {
    for (const target of ["dir", ""]) {
      const problems = await problemsOf(async (image, bytes) => {
        const { nid } = await lookup(image, target);
        bytes.writeBigUInt64LE(BigInt(nid), await recordOf(image, bytes, "dir", "inner"));
      });
      assert.match(problems.join("\n"), /\/dir\/inner: is a directory that already has another place/);
    }
  });

  it("a wrong parent", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      const { nid } = await lookup(image, "dir/inner");
      bytes.writeBigUInt64LE(BigInt(nid), await recordOf(image, bytes, "dir", ".."));
    });
    assert.match(problems.join("\n"), /\/dir: "\.\." points at inode \d+ with type 2, not at directory/);
  });

  it("an entry whose type is not that of its inode", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      bytes[(await recordOf(image, bytes, "", "file")) + dirent.fileType] = 7;
    });
    assert.deepEqual(problems, ["/file: has type 7, but its inode has 1"]);
  });

  it("an entry that points outside of the image", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      bytes.writeBigUInt64LE(2n ** 50n, await recordOf(image, bytes, "", "file"));
    });
    assert.match(problems.join("\n"), /\/file: .*outside of the image/);
  });

  it("names out of order", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      const record = await recordOf(image, bytes, "dir", "two");
      const { position = 0 } = await image.extent(await lookup(image, "dir"), 0);
      bytes[position + bytes.readUInt16LE(record + dirent.nameOffset)] = 0x21;
    });
    assert.match(problems.join("\n"), /\/dir: the name "!wo" is out of order or there twice/);
  });

  it("file data outside of the image", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      bytes.writeUInt32LE(0xffff_0000, (await lookup(image, "file")).position + inodeField.union);
    });
    assert.match(problems.join("\n"), /\/file: .*data of inode \d+ lies outside of the image/);
  });

  it("metadata that is used twice", async () => {
    const problems = await problemsOf(async (image, bytes) => {
      const directory = await lookup(image, "dir");
      const inner = await lookup(image, "dir/inner");
      // The inner directory's header made to look like a plain one whose data is the block of the inodes.
      bytes.writeUInt16LE(1, inner.position + inodeField.format);
      bytes.writeUInt32LE(Math.floor(directory.position / 4096), inner.position + inodeField.union);
    });
    assert.match(problems.join("\n"), /shares bytes with other metadata/);
  });

  it("an inode count that is not that of the tree", async () => {
    const problems = await problemsOf((_, bytes) => {
      bytes.writeUInt32LE(99, superblock.position + superblock.inodeCount);
    });
    assert.match(problems.join("\n"), /superblock: says 99 inodes/);
  });
});

describe("opening refuses", () => {
  const refused = async (change: (bytes: Buffer) => Buffer | undefined, code: string) => {
    const bytes = Buffer.from(sound);
    const changed = change(bytes) ?? bytes;
    await assert.rejects(ErofsImage.open(new MemorySource(changed)), { name: "ErofsError", code });
  };

  it("a wrong magic", () =>
    refused((bytes) => void bytes.fill(0, superblock.position, superblock.position + 1), "not-erofs"));
  it("an empty file", () => refused(() => Buffer.alloc(0), "not-erofs"));
  it("a wrong checksum", () => refused((bytes) => void bytes.fill(9, 4000, 4001), "corrupt"));
  it("an unknown incompatible feature", () =>
    refused((bytes) => {
      bytes.writeUInt32LE(0x80, superblock.position + superblock.featureIncompat);
      fixChecksum(bytes);
      return undefined;
    }, "unsupported"));
  it("another block size", () =>
    refused((bytes) => {
      bytes[superblock.position + superblock.blockSizeBits] = 16;
      fixChecksum(bytes);
      return undefined;
    }, "unsupported"));
  it("a file that is cut off", () => refused((bytes) => bytes.subarray(0, bytes.length - 1), "truncated"));
});

/** Reads all that can be read of an image. */
async function readAll(image: ErofsImage): Promise<void> {
  let budget = 2000;
  const visit = async (inode: Inode): Promise<void> => {
    if (budget-- <= 0) return;
    await image.xattrs(inode);
    if (isSymbolicLink(inode)) await image.linkTarget(inode);
    if (isRegular(inode)) {
      let bytes = 0;
      for await (const piece of readFileData(image, inode)) {
        bytes += piece.length;
        if (bytes > 16 << 20) break;
      }
    }
    if (isDirectory(inode))
      for await (const { nid } of directoryEntries(image, inode)) await visit(await image.inode(nid));
  };
  await visit(await image.root());
}

describe("a damaged image", () => {
  const change = fc.record({
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 0xff)),
    length: fc.integer({ min: 1, max: 16 }),
  });
  for (const kind of ["flat", "chunked"] as const) {
    it(`(${kind}) never makes reader or checker crash or hang`, async () => {
      const original = kind === "flat" ? sound : chunked;
      // Only blocks that hold metadata: what lies in file contents is nobody's concern here.
      const end = Math.min(original.length, 2 * 4096);
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
          const bytes = Buffer.from(original);
          for (const { at, value, length } of changes) {
            const from = superblock.position + (at % (end - superblock.position));
            bytes.fill(value, from, Math.min(end, from + length));
          }
          // Not only the checksum is to find the damage.
          bytes.writeUInt32LE(superblock.magicNumber, superblock.position);
          fixChecksum(bytes);
          try {
            const image = await ErofsImage.open(new MemorySource(bytes));
            await checkErofs(image, { profile: "disk" });
            await readAll(image);
          } catch (error) {
            if (!(error instanceof ErofsError)) throw error;
          }
        }),
        { numRuns: 500 },
      );
    });
  }
});
