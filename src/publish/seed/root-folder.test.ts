import assert from "node:assert/strict";
import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needsRoot } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { RootFolder } from "./root-folder.ts";

/** A root file system beside a folder that nothing may touch. */
async function rootFileSystem(scope: Scope): Promise<{ root: RootFolder; path: string; outside: string }> {
  const work = await temporaryDirectory(scope, "root-folder");
  const path = join(work, "root");
  const outside = join(work, "outside");
  for (const folder of [outside, join(path, "etc"), join(path, "usr")]) await mkdir(folder, { recursive: true });
  return { root: await RootFolder.open(path), path, outside };
}

test("absolute links lead to places in the root file system, not on this machine", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path, outside } = await rootFileSystem(scope);
  await mkdir(join(path, "data"));
  await mkdir(join(path, "var"));
  await symlink("/data", join(path, "var/lib"));
  await symlink(outside, join(path, "data/nodewarm"));
  await root.writeFile("/var/lib/nodewarm/disks/a.erofs", "a");
  assert.equal(await readFile(join(path, outside, "disks/a.erofs"), "utf8"), "a");
  assert.deepEqual(await readdir(outside), []);
});

test("links that climb end at the root", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path } = await rootFileSystem(scope);
  await symlink("../../../../..", join(path, "etc/up"));
  await root.writeFile("/etc/up/file", "here");
  assert.equal(await readFile(join(path, "file"), "utf8"), "here");
});

test("links in a circle are refused", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path } = await rootFileSystem(scope);
  await symlink("b", join(path, "a"));
  await symlink("a", join(path, "b"));
  await assert.rejects(root.writeFile("/a/file", ""), { code: "invalid-root", message: /too many symbolic links/ });
});

test("a file takes the place of a link and of what an interrupted run left", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path, outside } = await rootFileSystem(scope);
  await symlink(join(outside, "file"), join(path, "etc/unit"));
  await writeFile(join(path, "etc/.nodewarm-partial-unit"), "left");
  await root.writeFile("/etc/unit", "new", 0o600);
  assert.equal(await readFile(join(path, "etc/unit"), "utf8"), "new");
  assert.equal((await lstat(join(path, "etc/unit"))).mode & 0o7777, 0o600);
  assert.deepEqual(await readdir(join(path, "etc")), ["unit"]);
  assert.deepEqual(await readdir(outside), []);
});

test("a copy that fails leaves nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path } = await rootFileSystem(scope);
  await assert.rejects(root.copyFile(join(path, "missing"), "/etc/copy"), { code: "ENOENT" });
  assert.deepEqual(await readdir(join(path, "etc")), []);
});

test("a link is removed, not what it leads to", async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path } = await rootFileSystem(scope);
  await root.writeFile("/opt/tool", "tool");
  await root.link("/usr/bin/tool", "/opt/tool");
  assert.equal(await readlink(join(path, "usr/bin/tool")), "/opt/tool");
  assert.equal(await root.remove("/usr/bin/tool"), "removed");
  assert.equal(await root.remove("/usr/bin/tool"), "missing");
  assert.equal(await root.exists("/opt/tool"), true);
});

test("a folder with a volume in it stays, with all that is in both", { skip: needsRoot }, async () => {
  await using scope = new AsyncDisposableStack();
  const { root, path } = await rootFileSystem(scope);
  const volume = await root.makeFolder("/var/lib/nodewarm/disks");
  await run("mount", ["-t", "tmpfs", "volume", volume]);
  scope.defer(async () => void (await run("umount", [volume])));
  await root.writeFile("/var/lib/nodewarm/disks/shared.erofs", "shared");
  await root.writeFile("/var/lib/nodewarm/state", "state");
  assert.equal(await root.remove("/var/lib/nodewarm"), "mounted");
  assert.deepEqual((await readdir(join(path, "var/lib/nodewarm"))).sort(), ["disks", "state"]);
  assert.deepEqual(await readdir(volume), ["shared.erofs"]);
});

test("what is no root file system is refused by name", async () => {
  await using scope = new AsyncDisposableStack();
  const path = await temporaryDirectory(scope, "root-folder");
  await assert.rejects(RootFolder.open(path), { code: "invalid-root", message: new RegExp(`${path} is no root`) });
  await assert.rejects(RootFolder.open(join(path, "missing")), { code: "invalid-root" });
});
