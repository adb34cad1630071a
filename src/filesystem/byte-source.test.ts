import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { attachLoopDevice } from "../../test/support/mount.ts";
import { needs } from "../../test/support/privileges.ts";
import { type ByteSource, MemorySource, openFileSource } from "./byte-source.ts";

const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "nodewarm-source-"));
  await writeFile(join(folder, "file"), bytes);
});
after(() => rm(folder, { recursive: true }));

const openers: Record<string, () => Promise<ByteSource>> = {
  "a file": () => openFileSource(join(folder, "file")),
  memory: async () => new MemorySource(bytes),
};

for (const [name, open] of Object.entries(openers)) {
  describe(`${name} as a byte source`, () => {
    it("knows its size", async () => {
      const source = await open();
      assert.equal(source.sizeBytes, bytes.length);
      await source.close();
    });

    it("reads at any position, up to the last byte", async () => {
      const source = await open();
      for (const [position, length] of [
        [0, 10],
        [4095, 2],
        [9_999, 1],
        [0, 10_000],
        [10_000, 0],
      ]) {
        const target = new Uint8Array(length);
        await source.read(position, target);
        assert.deepEqual(target, bytes.slice(position, position + length));
      }
      await source.close();
    });

    it("says so when asked for more than there is", async () => {
      const source = await open();
      for (const [position, length] of [
        [9_999, 2],
        [10_001, 0],
        [-1, 1],
        [Number.NaN, 1],
      ]) {
        await assert.rejects(source.read(position, new Uint8Array(length)), { name: "ErofsError", code: "truncated" });
      }
      await source.close();
    });

    it("serves reads side by side", async () => {
      const source = await open();
      const targets = [0, 1000, 2000].map(() => new Uint8Array(1000));
      await Promise.all(targets.map((target, i) => source.read(i * 1000, target)));
      assert.deepEqual(Buffer.concat(targets), Buffer.from(bytes.slice(0, 3000)));
      await source.close();
    });

    it("may be closed twice", async () => {
      const source = await open();
      await source.close();
      await source.close();
    });
  });
}

it("only files and block devices are byte sources", async () => {
  await assert.rejects(openFileSource(folder), { name: "ErofsError", code: "not-a-file" });
  await assert.rejects(openFileSource("/dev/null"), { name: "ErofsError", code: "not-a-file" });
  await assert.rejects(openFileSource(join(folder, "absent")), { code: "ENOENT" });
});

it("a block device has its real size, and reads as the file behind it", { skip: needs("losetup") }, async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(folder, "device");
  const content = Buffer.alloc(4096 * 37 + 512, "device");
  await writeFile(path, content);
  const source = await openFileSource(await attachLoopDevice(scope, path));
  const target = Buffer.alloc(content.length);
  await source.read(0, target);
  assert.equal(source.sizeBytes, content.length);
  assert.ok(target.equals(content));
  await source.close();
});

it("refuses a named pipe instead of waiting for somebody to write to it", async () => {
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  await assert.rejects(openFileSource(pipe), { code: "not-a-file" });
});
