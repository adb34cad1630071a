import assert from "node:assert/strict";
import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { HostError } from "./host-error.ts";
import { renameToNew, swapInLink } from "./link-swap.ts";
import { syncDirectory, syncFilesystem } from "./sync-filesystem.ts";

test("an empty folder, another link and nothing become the link, and nothing is left beside", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "swap");
  await mkdir(join(work, "folder"));
  await symlink("elsewhere", join(work, "link"));
  for (const name of ["folder", "link", "nothing"]) {
    assert.equal(await swapInLink(join(work, name), "../7/fs/layers/a"), true);
    assert.equal(await readlink(join(work, name)), "../7/fs/layers/a");
    assert.equal(await swapInLink(join(work, name), "../7/fs/layers/a"), false);
  }
  await syncFilesystem(work);
  await syncDirectory(work);
  assert.deepEqual((await readdir(work)).sort(), ["folder", "link", "nothing"]);
});

test("a folder with something in it and a file stay as they are", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "swap");
  await mkdir(join(work, "folder/inside"), { recursive: true });
  await writeFile(join(work, "file"), "kept");
  for (const name of ["folder", "file"]) {
    await assert.rejects(swapInLink(join(work, name), "x"), (error: unknown) => {
      return error instanceof HostError && error.code === "occupied";
    });
  }
  assert.deepEqual(await readdir(join(work, "folder")), ["inside"]);
  assert.equal(await readFile(join(work, "file"), "utf8"), "kept");
  assert.deepEqual((await readdir(work)).sort(), ["file", "folder"]);
});

test("a file gets a name that nobody has, and takes none from anybody", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "rename");
  for (const name of ["one", "other"]) await writeFile(join(work, name), name);
  assert.equal(await renameToNew(join(work, "one"), join(work, "new")), true);
  assert.equal(await renameToNew(join(work, "other"), join(work, "new")), false);
  assert.equal(await readFile(join(work, "new"), "utf8"), "one");
  assert.deepEqual((await readdir(work)).sort(), ["new", "other"]);
  await assert.rejects(renameToNew(join(work, "gone"), join(work, "newer")), { code: "ENOENT" });
});

test("whoever looks while it happens sees the folder or a link, never nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await temporaryDirectory(scope, "swap");
  for (let round = 0; round < 20; round++) {
    const path = join(work, `${round}`);
    await mkdir(path);
    const swaps = Promise.all(["a", "b", "c"].map((target) => swapInLink(path, target)));
    let done = false;
    void swaps.finally(() => {
      done = true;
    });
    while (!done) await lstat(path);
    await swaps;
    assert.match(await readlink(path), /^[abc]$/);
  }
  assert.equal((await readdir(work)).length, 20);
});

test("syncing what does not exist fails as opening does", async () => {
  await assert.rejects(syncFilesystem("/no/such/folder"), { code: "ENOENT" });
  await assert.rejects(syncDirectory("/proc/self/comm"), { code: "ENOTDIR" });
});
