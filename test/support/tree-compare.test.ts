import assert from "node:assert/strict";
import { link, lutimes, mkdir, rename, rm, symlink, truncate, unlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needsRoot } from "./privileges.ts";
import { run } from "./processes.ts";
import { temporaryDirectory } from "./temporary.ts";
import { compareTrees } from "./tree-compare.ts";

/** Every change that must not go unseen, made to one of two equal trees. */
const changes: readonly { name: string; expected: RegExp; make(root: string): Promise<unknown> }[] = [
  { name: "a mode", expected: /^\/file: mode 100600, wanted 100644$/, make: (r) => run("chmod", ["600", `${r}/file`]) },
  { name: "setuid", expected: /^\/file: mode 104644/, make: (r) => run("chmod", ["u+s", `${r}/file`]) },
  {
    name: "an owner",
    expected: /^\/link: uid 70000, wanted 0$/,
    make: (r) => run("chown", ["-h", "70000", `${r}/link`]),
  },
  { name: "a group", expected: /^\/dir: gid 7, wanted 0$/, make: (r) => run("chgrp", ["7", `${r}/dir`]) },
  {
    name: "a nanosecond",
    expected: /^\/file: mtime 1000000001, wanted 1000000000$/,
    make: (r) => run("touch", ["-hd", "1970-01-01T00:00:01.000000001Z", `${r}/file`]),
  },
  { name: "a link target", expected: /^\/link: target b, wanted a$/, make: (r) => relink(join(r, "link"), "b") },
  {
    name: "one byte of a large file",
    expected: /^\/dir\/large: content differs from byte 2000000$/,
    make: (r) => run("sh", ["-c", `printf x | dd of=${r}/dir/large bs=1 seek=2000000 conv=notrunc`]),
  },
  { name: "a length", expected: /^\/dir\/large: size 5, wanted 3000000$/, make: (r) => truncate(`${r}/dir/large`, 5) },
  { name: "a missing path", expected: /^\/fifo: missing$/, make: (r) => unlink(`${r}/fifo`) },
  {
    name: "a path too many",
    expected: /^\/dir\/new: should not be there$/,
    make: (r) => writeFile(`${r}/dir/new`, ""),
  },
  {
    name: "a name that is not UTF-8",
    expected: /^\/n\\xff: missing$/,
    make: (r) => run("sh", ["-c", `mv ${r}/n$(printf '\\377') ${r}/n$(printf '\\376')`]),
  },
  {
    name: "a hard link to another file of equal content",
    expected: /^\/hard: shares its inode with \/hard, wanted \/file$/,
    make: async (r) => {
      await unlink(`${r}/hard`);
      await run("cp", ["-a", `${r}/file`, `${r}/hard`]);
    },
  },
  {
    name: "a link from elsewhere",
    expected: /^\/file: 3 links, wanted 2$/,
    make: (r) => link(`${r}/file`, `${r}/../x`),
  },
  {
    name: "a device number",
    expected: /^\/device: device/,
    make: async (r) => {
      await unlink(`${r}/device`);
      await run("mknod", ["-m", "644", `${r}/device`, "b", "8", "2"]);
    },
  },
  {
    name: "one byte of an xattr",
    expected: /^\/file: xattr user\.a is 00ff01, wanted 00ff00$/,
    make: (r) => run("setfattr", ["-n", "user.a", "-v", "0x00ff01", `${r}/file`]),
  },
  {
    name: "an xattr too many",
    expected: /^\/dir: xattr trusted\.overlay\.opaque should not be there$/,
    make: (r) => run("setfattr", ["-n", "trusted.overlay.opaque", "-v", "y", `${r}/dir`]),
  },
  {
    name: "a missing xattr",
    expected: /^\/file: xattr user\.a is missing$/,
    make: (r) => run("setfattr", ["-x", "user.a", `${r}/file`]),
  },
];

test("equal trees have no differences", { skip: needsRoot }, async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope);
  await makeTree(join(work, "one"));
  await makeTree(join(work, "two"));
  assert.deepEqual(compareTrees(join(work, "one"), join(work, "two")), []);
});

for (const { name, expected, make } of changes) {
  test(`${name} is a difference`, { skip: needsRoot }, async () => {
    await using scope = new AsyncDisposableStack();
    const work = await temporaryDirectory(scope);
    await makeTree(join(work, "one"));
    await makeTree(join(work, "two"));
    await make(join(work, "two"));
    const differences = compareTrees(join(work, "one"), join(work, "two"));
    assert.ok(
      differences.some((line) => expected.test(line)),
      `${expected} not among: ${differences.join("; ")}`,
    );
  });
}

test("what has no meaning is left out: times of whiteouts, and of implied directories where the rules say so", {
  skip: needsRoot,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope);
  for (const [name, seconds] of [
    ["one", 5],
    ["two", 0],
  ] as const) {
    await makeTree(join(work, name));
    await run("mknod", ["-m", "0", join(work, name, "whiteout"), "c", "0", "0"]);
    await utimes(join(work, name, "whiteout"), seconds, seconds);
    await utimes(join(work, name, "dir"), seconds, seconds);
    await utimes(join(work, name), 1, 1);
  }
  assert.deepEqual(compareTrees(join(work, "one"), join(work, "two"), { impliedDirectories: true }), []);
  assert.deepEqual(compareTrees(join(work, "one"), join(work, "two")), ["/dir: mtime 0, wanted 5000000000"]);
});

async function makeTree(root: string): Promise<void> {
  await mkdir(join(root, "dir"), { recursive: true });
  await writeFile(join(root, "file"), "some");
  await run("setfattr", ["-n", "user.a", "-v", "0x00ff00", join(root, "file")]);
  await link(join(root, "file"), join(root, "hard"));
  await writeFile(join(root, "dir/large"), Buffer.alloc(3_000_000, 1));
  await symlink("a", join(root, "link"));
  await run("mkfifo", [join(root, "fifo")]);
  await run("mknod", ["-m", "644", join(root, "device"), "b", "8", "1"]);
  await run("sh", ["-c", `echo 1 > ${root}/n$(printf '\\377')`]);
  const names = ["file", "dir/large", "link", "fifo", "device", "dir"];
  for (const name of names) await lutimes(join(root, name), 1, 1);
  await run("sh", ["-c", `touch -d @1 ${root}/n* ${root}`]);
}

async function relink(path: string, target: string): Promise<void> {
  await symlink(target, `${path}.new`);
  await rm(path);
  await rename(`${path}.new`, path);
  await lutimes(path, 1, 1);
}
