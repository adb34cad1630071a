import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { DiskError } from "../disk-error.ts";
import { PartialFile } from "./partial-file.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "nodewarm-partial-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

test("the file appears under its name only with commit, and replaces what was there", async (t) => {
  const target = join(await folder(t), "disk.erofs");
  await writeFile(target, "old");
  const file = await PartialFile.create(target);
  await file.write(new TextEncoder().encode("new"), 0);
  assert.equal(await readFile(target, "utf8"), "old");
  await file.commit();
  assert.equal(await readFile(target, "utf8"), "new");
  assert.deepEqual(await readdir(join(target, "..")), ["disk.erofs"]);
});

test("discard leaves nothing but what was there", async (t) => {
  const target = join(await folder(t), "disk.erofs");
  await writeFile(target, "old");
  const file = await PartialFile.create(target);
  await file.write(new Uint8Array(10), 0);
  await file.discard();
  assert.deepEqual(await readdir(join(target, "..")), ["disk.erofs"]);
  assert.equal(await readFile(target, "utf8"), "old");
});

test("a second build of the same disk is refused while the first runs, and can begin after it", async (t) => {
  const target = join(await folder(t), "disk.erofs");
  const first = await PartialFile.create(target);
  await assert.rejects(PartialFile.create(target), (error) => {
    assert.ok(error instanceof DiskError);
    assert.equal(error.code, "output");
    assert.match(error.message, /another build is writing it/);
    return true;
  });
  await first.commit();
  const second = await PartialFile.create(target);
  await second.discard();
  assert.ok(existsSync(target));
});

test("what a killed build left is taken over and begun anew", async (t) => {
  const target = join(await folder(t), "disk.erofs");
  const code = `
    const { PartialFile } = await import(${JSON.stringify(new URL("./partial-file.ts", import.meta.url).href)});
    const file = await PartialFile.create(${JSON.stringify(target)});
    await file.write(new Uint8Array(100).fill(7), 0);
    console.log("written");
    // Referred to for as long as it lives: a collected handle is closed, and the lock with it.
    setInterval(() => file, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await assert.rejects(PartialFile.create(target), DiskError);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await exited;
  assert.deepEqual(await readdir(join(target, "..")), [".disk.erofs.nodewarm-partial"]);

  const file = await PartialFile.create(target);
  await file.write(new Uint8Array(3).fill(1), 0);
  await file.commit();
  assert.deepEqual([...(await readFile(target))], [1, 1, 1]);
});
