import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { type FileHandle, mkdtemp, open, readdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { run, waitUntil } from "../../../test/support/processes.ts";
import { DiskError } from "../disk-error.ts";
import { PartialFile } from "./partial-file.ts";
import { flushBytes } from "./write-back.ts";

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

test("an error of writing back that the kernel tells once fails writes and the commit, and no file appears", async (t) => {
  const directory = await folder(t);
  const target = join(directory, "disk.erofs");
  const file = await PartialFile.create(target);
  const other = await open(directory);
  t.after(() => other.close());
  const failure = Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
  const told = Promise.withResolvers<void>();
  // A prototype has no type; this is that of all open files, of the one under test too.
  const datasync = t.mock.method(Object.getPrototypeOf(other) as FileHandle, "datasync", async () => {
    told.resolve();
    throw failure;
  });
  await file.write(new Uint8Array(10), 0);
  file.beginSync();
  await told.promise;
  datasync.mock.restore();
  await waitUntil("a write says that earlier bytes are lost", async () =>
    file.write(new Uint8Array(10), 10).then(
      () => false,
      (error: unknown) => error === failure,
    ),
  );
  await assert.rejects(file.commit(), failure);
  assert.equal(existsSync(target), false);
  await file.discard();
  assert.deepEqual(await readdir(directory), []);
});

const tmpfsMagic = 0x01021994;

test("what will not be read again leaves the page cache while the file grows, the rest stays", async (t) => {
  const directory = await folder(t);
  if ((await statfs(directory)).type === tmpfsMagic) return t.skip(`${directory} is in memory`);
  if (!existsSync("/usr/bin/fincore")) return t.skip("there is no fincore (package util-linux-extra)");
  const file = await PartialFile.create(join(directory, "disk.erofs"));
  t.after(() => file.discard());
  const path = join(directory, ".disk.erofs.nodewarm-partial");
  const cachedBytes = async (): Promise<number> => Number(await run("fincore", ["-b", "-n", "-o", "RES", path]));
  const mebibyte = 1 << 20;
  const bytes = new Uint8Array(mebibyte).fill(1);
  const beginning = new Uint8Array(8 * mebibyte);
  file.expectNoReads(beginning.length, 160 * mebibyte);
  for (let i = 0; i < 130; i++) await file.write(bytes, i * mebibyte);
  await waitUntil(
    "nothing is cached but the beginning and less than what another flush begins with",
    async () => (await cachedBytes()) < beginning.length + flushBytes,
    60_000,
  );
  await waitUntil(
    "all is flushed, and the beginning alone is cached",
    async () => {
      // The kernel may let go of it when others need memory.
      await file.read(beginning, 0);
      await file.write(bytes, 129 * mebibyte);
      const hasRestLeft = async (): Promise<boolean> => {
        file.beginSync();
        return (await cachedBytes()) <= beginning.length;
      };
      await waitUntil("the rest has left", hasRestLeft, 60_000);
      return (await cachedBytes()) === beginning.length;
    },
    60_000,
  );
  const read = new Uint8Array(mebibyte);
  await file.read(read, 100 * mebibyte);
  assert.deepEqual(read, bytes);
});
