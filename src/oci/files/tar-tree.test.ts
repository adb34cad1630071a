import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { OciError } from "../oci-error.ts";
import { DirectoryTree, type FileTree } from "./file-tree.ts";
import { TarTree } from "./tar-tree.ts";

const directory = await mkdtemp(join(tmpdir(), "nodewarm-tar-tree-"));
const file = join(directory, "x.tar");
const signal = new AbortController().signal;
const longName = `${"deep/".repeat(60)}file-${"n".repeat(120)}`;

before(async () => {
  await mkdir(join(directory, "in", longName, ".."), { recursive: true });
  await writeFile(join(directory, "in", longName), "long");
  await writeFile(join(directory, "in", "plain"), "plain text");
  await writeFile(join(directory, "in", "empty"), "");
  await symlink(longName, join(directory, "in", "link"));
  await symlink("loop-b", join(directory, "in", "loop-a"));
  await symlink("loop-a", join(directory, "in", "loop-b"));
  execFileSync("ln", [join(directory, "in", "plain"), join(directory, "in", "same")]);
});
after(() => rm(directory, { recursive: true }));

async function textOf(tree: FileTree, path: string): Promise<string | undefined> {
  const found = await tree.open(path);
  if (!found) return undefined;
  const pieces: Uint8Array[] = [];
  for await (const piece of found.read(signal)) pieces.push(piece);
  await found.close();
  return Buffer.concat(pieces).toString();
}

for (const format of ["gnu", "oldgnu", "pax"]) {
  test(`members of tar's ${format} format are found by name, also through links`, async () => {
    execFileSync("tar", [`--format=${format}`, "-cf", file, "-C", join(directory, "in"), "."]);
    const tree = await TarTree.open(file, 1000);
    assert.equal(await textOf(tree, "plain"), "plain text");
    assert.equal(await textOf(tree, "same"), "plain text");
    assert.equal(await textOf(tree, "empty"), "");
    assert.equal(await textOf(tree, longName), "long");
    assert.equal(await textOf(tree, "link"), "long");
    assert.equal(await textOf(tree, "nothing"), undefined);
    await assert.rejects(tree.open("loop-a"), { code: "invalid-archive" });
    await tree.close();
  });
}

test("the last member of a name counts", async () => {
  await writeFile(join(directory, "in", "plain"), "first");
  execFileSync("tar", ["-cf", file, "-C", join(directory, "in"), "plain"]);
  await writeFile(join(directory, "in", "plain"), "second");
  execFileSync("tar", ["-rf", file, "-C", join(directory, "in"), "./plain"]);
  const tree = await TarTree.open(file, 1000);
  assert.equal(await textOf(tree, "plain"), "second");
  await tree.close();
});

describe("refused", () => {
  const refuses = (what: string, bytes: () => Uint8Array, message: RegExp) =>
    test(what, async () => {
      await writeFile(file, bytes());
      await assert.rejects(TarTree.open(file, 10), (error: unknown) => {
        assert.ok(error instanceof OciError);
        assert.match(error.message, message);
        return true;
      });
    });
  const archive = () => execFileSync("tar", ["-cf", "-", "-C", join(directory, "in"), "plain"]);
  const with9 = (start: number, text: string) => {
    const bytes = Buffer.from(archive());
    bytes.write(text, start, "latin1");
    return bytes;
  };

  refuses("gzip", () => gzipSync(archive()), /compressed with gzip; decompress it first/);
  refuses("zstd", () => zstdCompressSync(archive()), /compressed with zstd/);
  refuses("text", () => Buffer.alloc(2000, "hello"), /malformed/);
  refuses("a changed header", () => with9(0, "q"), /checksum/);
  refuses("an archive cut in a header", () => archive().subarray(0, 300), /cut off inside a header/);
  refuses("an archive cut in a member", () => archive().subarray(0, 514), /cut off inside plain/);
  refuses(
    "more members than the limit",
    () =>
      execFileSync("sh", [
        "-c",
        `cd "${directory}" && mkdir -p m && cd m && touch 1 2 3 4 5 6 7 8 9 a b && tar -cf - .`,
      ]),
    /more than 10 members/,
  );
  refuses(
    "sparse members",
    () => {
      execFileSync("truncate", ["-s", "1M", join(directory, "hole")]);
      return execFileSync("tar", ["-cSf", "-", "-C", directory, "hole"]);
    },
    /sparse/,
  );

  test("any bytes give a tree or an OciError", async () => {
    const valid = archive();
    const mutated = fc
      .array(fc.tuple(fc.nat(1023), fc.nat(255)), { maxLength: 6 })
      .map((changes) => changes.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), Buffer.from(valid)));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 3000 }), mutated), async (bytes) => {
        await writeFile(file, bytes);
        const tree = await TarTree.open(file, 100).catch((error: unknown) =>
          assert.ok(error instanceof OciError, String(error)),
        );
        await tree?.close();
      }),
      { numRuns: 200 },
    );
  });
});

test("a folder never reads what is no regular file", async () => {
  execFileSync("mkfifo", [join(directory, "pipe")]);
  const tree = new DirectoryTree(directory);
  await assert.rejects(tree.open("pipe"), { code: "file-unreadable" });
  await assert.rejects(tree.open("in"), { code: "file-unreadable" });
  assert.equal(await tree.open("x.tar/below"), undefined);
});
