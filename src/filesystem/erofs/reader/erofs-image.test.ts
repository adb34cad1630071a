import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openFileSource } from "../../byte-source.ts";
import { checkErofs } from "../checker.ts";
import { ErofsImage } from "./erofs-image.ts";
import { openInnerFile, readWholeFile } from "./file-data.ts";
import { type Inode, isDirectory, isRegular, isSymbolicLink } from "./inode-parser.ts";
import { directoryEntries, lookup } from "./lookup.ts";

let folder: string;
const isRoot = process.getuid?.() === 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "nodewarm-erofs-"));
  await makeTree(join(folder, "tree"));
});
after(() => rm(folder, { recursive: true }));

async function makeTree(root: string): Promise<void> {
  await mkdir(join(root, "many"), { recursive: true });
  await mkdir(join(root, "empty"), { mode: 0o711 });
  await writeFile(join(root, "small"), "hello\n");
  await writeFile(join(root, "nothing"), "");
  await writeFile(join(root, "block"), Buffer.alloc(4096, 7));
  await writeFile(join(root, "blocks"), Buffer.alloc(100_000, "nodewarm"));
  await writeFile(join(root, "sparse"), "at the front");
  await truncate(join(root, "sparse"), 300_000);
  await link(join(root, "small"), join(root, "many", "hard link"));
  await symlink("../small", join(root, "many", "link"));
  await symlink("x".repeat(4000), join(root, "long link"));
  await writeFile(join(root, "ä".repeat(127)), "long name", { mode: 0o600 });
  for (let i = 0; i < 700; i++) await writeFile(join(root, "many", `file-with-a-longer-name-${i}`), `${i}`);
  for (const path of ["small", "block", "many", "nothing"]) {
    execFileSync("setfattr", ["-n", "user.first", "-v", "shared value", join(root, path)]);
    execFileSync("setfattr", ["-n", `user.${path}`, "-v", `0x00ff${path.length}0`, join(root, path)]);
  }
  if (isRoot) {
    execFileSync("mknod", [join(root, "device"), "c", "259", "70000"]);
    execFileSync("mkfifo", [join(root, "fifo")]);
    execFileSync("chown", ["70000:80000", join(root, "block")]);
  }
}

const variants: Record<string, string[]> = {
  "compact inodes": ["-T0"],
  "extended inodes": ["-E", "force-inode-extended"],
  "shared xattrs": ["-x1"],
  "inline xattrs only": ["-x100000"],
  "chunks of one block": ["--chunksize=4096"],
  "chunks of 64 KiB": ["--chunksize=65536", "-E", "force-inode-extended"],
};

for (const [name, flags] of Object.entries(variants)) {
  describe(`an image of mkfs.erofs with ${name}`, () => {
    it("reads as the tree it was made of, and passes the checker", async () => {
      const path = join(folder, `${name}.erofs`);
      execFileSync("mkfs.erofs", ["--quiet", ...flags, path, join(folder, "tree")], { stdio: "ignore" });
      const source = await openFileSource(path);
      const image = await ErofsImage.open(source);
      await compare(image, await image.root(), join(folder, "tree"), xattrsBelow(join(folder, "tree")));
      assert.equal((await lookup(image, "small")).headerBytes, name === "compact inodes" ? 32 : 64);
      assert.deepEqual((await checkErofs(image)).problems, []);
      await source.close();
    });
  });
}

async function compare(image: ErofsImage, inode: Inode, path: string, xattrs: Map<string, string[]>): Promise<void> {
  const stat = await lstat(path, { bigint: true });
  assert.equal(inode.mode, Number(stat.mode), path);
  if (!isDirectory(inode)) assert.equal(inode.linkCount, Number(stat.nlink), path);
  assert.equal(inode.uid, Number(stat.uid), path);
  assert.equal(inode.gid, Number(stat.gid), path);
  assert.deepEqual(await xattrsOf(image, inode), xattrs.get(path) ?? [], path);
  if (isDirectory(inode)) {
    const names: string[] = [];
    for await (const entry of directoryEntries(image, inode)) {
      names.push(entry.name.toString());
      await compare(image, await image.inode(entry.nid), join(path, entry.name.toString()), xattrs);
    }
    assert.deepEqual([...names].sort(), (await readdir(path)).sort());
  } else if (isSymbolicLink(inode)) {
    assert.equal((await image.linkTarget(inode)).toString(), await readlink(path));
  } else if (isRegular(inode)) {
    const expected = await readFile(path);
    assert.equal(inode.sizeBytes, expected.length);
    assert.ok((await readWholeFile(image, inode, 1 << 20, path)).equals(expected), path);
  } else {
    const major = (inode.union >>> 8) & 0xfff;
    const minor = (inode.union & 0xff) | ((inode.union >>> 12) & 0xfff00);
    const rdev = Number(stat.rdev);
    assert.equal(major, (rdev >>> 8) & 0xfff, path);
    assert.equal(minor, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00), path);
  }
}

async function xattrsOf(image: ErofsImage, inode: Inode): Promise<string[]> {
  return (await image.xattrs(inode))
    .map(({ name, value }) => `${Buffer.from(name)}=${Buffer.from(value).toString("hex")}`)
    .sort();
}

/** All xattrs under `root` by path, as `getfattr` shows them. */
function xattrsBelow(root: string): Map<string, string[]> {
  const text = execFileSync("getfattr", ["-R", "-h", "-d", "-e", "hex", "--absolute-names", root], {
    encoding: "utf8",
  });
  const byPath = new Map<string, string[]>();
  for (const paragraph of text.trim().split("\n\n")) {
    const [head, ...lines] = paragraph.split("\n");
    byPath.set(head.replace("# file: ", ""), lines.map((line) => line.replace("=0x", "=")).sort());
  }
  return byPath;
}

describe("looking up paths", () => {
  let image: ErofsImage;
  before(async () => {
    const path = join(folder, "lookup.erofs");
    execFileSync("mkfs.erofs", ["--quiet", path, join(folder, "tree")], { stdio: "ignore" });
    image = await ErofsImage.open(await openFileSource(path));
  });
  after(() => image.source.close());

  it("finds names wherever they stand in a directory", async () => {
    for (const name of [
      "small",
      "many/link",
      "many/file-with-a-longer-name-0",
      "/many//./file-with-a-longer-name-99/",
      "many/../small",
    ]) {
      assert.equal(typeof (await lookup(image, name)).nid, "number", name);
    }
    assert.equal((await lookup(image, "/")).nid, image.superblock.rootNid);
    assert.equal((await lookup(image, "..")).nid, image.superblock.rootNid);
  });

  it("says what is wrong with a path", async () => {
    await assert.rejects(lookup(image, "many/absent"), { code: "not-found", message: /many\/absent: no such file/ });
    await assert.rejects(lookup(image, "small/x"), { code: "not-a-directory" });
    await assert.rejects(lookup(image, "many/link/x"), { code: "not-a-directory" });
  });
});

it("an image inside an image can be opened and read", async () => {
  const outer = join(folder, "outer");
  await mkdir(outer);
  execFileSync("mkfs.erofs", ["--quiet", join(outer, "inner.erofs"), join(folder, "tree")], { stdio: "ignore" });
  for (const flags of [[], ["--chunksize=4096"]]) {
    const path = join(folder, "outer.erofs");
    execFileSync("mkfs.erofs", ["--quiet", ...flags, path, outer], { stdio: "ignore" });
    const source = await openFileSource(path);
    const image = await ErofsImage.open(source);
    const inner = await ErofsImage.open(openInnerFile(image, await lookup(image, "inner.erofs"), "inner.erofs"));
    await compare(inner, await inner.root(), join(folder, "tree"), xattrsBelow(join(folder, "tree")));
    await source.close();
  }
});
