import assert from "node:assert/strict";
import { chmod, chown, link, lutimes, mkdir, open, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needsRoot } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { compareTrees } from "../../../test/support/tree-compare.ts";
import { copyTree, measureTree } from "./copy-tree.ts";
import { makeNode } from "./inode-calls.ts";

const signal = new AbortController().signal;
const skip = needsRoot;

test("a copy has all that the tree has", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "copy");
  const tree = await makeTree(join(folder, "tree"));
  await copyTree(tree, join(folder, "copy"), signal);
  assert.deepEqual(compareTrees(tree, join(folder, "copy")), []);
});

test("holes stay holes, and are not counted", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "copy");
  const tree = join(folder, "tree");
  await mkdir(tree);
  {
    await using file = await open(join(tree, "sparse"), "w");
    await file.truncate(1 << 40);
    await file.write("middle", 1 << 30);
    await file.write("end", 2 ** 39);
  }
  {
    await using file = await open(join(tree, "hole"), "w");
    await file.truncate(1 << 30);
  }
  const { bytes, inodes } = await measureTree(tree, signal);
  assert.equal(inodes, 3);
  assert.ok(bytes < 1 << 20, `${bytes} bytes`);
  await copyTree(tree, join(folder, "copy"), signal);
  const copied = await stat(join(folder, "copy/sparse"));
  assert.deepEqual([copied.size, copied.blocks < 1000], [(await stat(join(tree, "sparse"))).size, true]);
  await using file = await open(join(folder, "copy/sparse"));
  assert.equal((await file.read(Buffer.alloc(6), 0, 6, 1 << 30)).buffer.toString(), "middle");
  assert.equal((await file.read(Buffer.alloc(3), 0, 3, 2 ** 39)).buffer.toString(), "end");
});

test("copying ends with its signal", { skip }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "copy");
  const tree = await makeTree(join(folder, "tree"));
  await assert.rejects(
    copyTree(tree, join(folder, "copy"), AbortSignal.abort("enough")),
    (reason) => reason === "enough",
  );
});

/** One of each kind, with what layers carry. */
async function makeTree(tree: string): Promise<string> {
  await mkdir(join(tree, "folder/deeper"), { recursive: true });
  await writeFile(join(tree, "setuid"), "program");
  await chown(join(tree, "setuid"), 1000, 2 ** 31);
  await run("setfattr", [
    "-n",
    "security.capability",
    "-v",
    "0x0100000200200000000000000000000000000000",
    join(tree, "setuid"),
  ]);
  await chmod(join(tree, "setuid"), 0o6755);
  await writeFile(join(tree, "large"), Buffer.alloc(3 << 20, 1));
  await link(join(tree, "setuid"), join(tree, "folder/other name"));
  await symlink("nowhere", join(tree, "folder/link"));
  await lutimes(join(tree, "folder/link"), 1, 2);
  await writeFile(Buffer.concat([Buffer.from(`${tree}/folder/`), Buffer.from([0xff, 0xfe])]), "no UTF-8");
  await makeNode(Buffer.from(join(tree, "whiteout")), { mode: 0o020000n, rdev: 0n });
  await makeNode(Buffer.from(join(tree, "null")), { mode: 0o020666n, rdev: 0x103n });
  await makeNode(Buffer.from(join(tree, "pipe")), { mode: 0o010644n, rdev: 0n });
  await run("setfattr", ["-n", "trusted.overlay.opaque", "-v", "y", join(tree, "folder")]);
  await run("setfattr", ["-n", "user.empty", join(tree, "large")]);
  // Before 1970, and with nanoseconds.
  await utimes(join(tree, "large"), -1.25, -1.25);
  await run("touch", ["-d", "2001-02-03T04:05:06.123456789Z", join(tree, "setuid")]);
  await chmod(join(tree, "folder"), 0o1770);
  await utimes(join(tree, "folder"), 100, 200);
  await utimes(tree, 300, 400);
  return tree;
}
