import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, open, readdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { buildTestDisk } from "../../../../test/support/disk-maker.ts";
import { type MadeImage, makeImage } from "../../../../test/support/image-maker.ts";
import { cachedPages } from "../../../../test/support/page-cache.ts";
import { tar as archive, file } from "../../../../test/support/tar-maker.ts";
import { DiskError } from "../../disk-error.ts";
import { PartialFile } from "../partial-file.ts";
import { BlockCopier } from "./block-copier.ts";

const block = 4096;
/** `TMPFS_MAGIC` (Linux `include/uapi/linux/magic.h`). */
const tmpfsMagic = 0x0102_1994;
const never = new AbortController().signal;
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "nodewarm-copier-"));
  t.after(() => rm(path, { recursive: true }));
  return path;
}

/** Descriptor of a file, until the test ends. */
async function opened(t: TestContext, path: string): Promise<number> {
  const handle = await open(path);
  t.after(() => handle.close());
  return handle.fd;
}

const notOpen = 1_000_000;

type OldDisk = { readonly layout: string; readonly image: MadeImage; readonly path: string; readonly starts: number[] };

/** A disk with 14 contents of 1 MiB: more than the copying threads get at once. */
async function oldDisk(t: TestContext): Promise<OldDisk> {
  const layout = await folder(t);
  const contents = Array.from({ length: 14 }, () => randomBytes(1 << 20));
  const files = contents.map((content, i) => file(`file-${String(i).padStart(2, "0")}`, content));
  const image = await makeImage(layout, { layers: [{ tar: archive(...files), compression: "none" }] });
  const { path } = await buildTestDisk(await folder(t), layout, [image]);
  const bytes = await readFile(path);
  return { layout, image, path, starts: contents.map((content) => bytes.indexOf(content.subarray(0, 64)) / block) };
}

test("pieces go to their places, runs and single ones, with zeros behind each", async (t) => {
  const path = join(await folder(t), "old");
  const old = randomBytes(700 * block);
  await writeFile(path, old);
  const target = join(await folder(t), "new");
  const partial = await PartialFile.create(target);
  const copier = new BlockCopier(path, await opened(t, path), never);
  partial.lend(copier);
  const expected = Buffer.alloc(900 * block);
  // What follows on, what lies apart on either side, whole MiB and single bytes.
  const pieces = [
    [0, 10, 3 * block],
    [3, 13, 100],
    [4, 14, block],
    [9, 15, 5000],
    [11, 200, 1],
    [12, 201, 1 << 20],
    [268, 457, 1 << 20],
    [524, 713, 70 * block - 1],
    [699, 899, block],
  ];
  for (const [from, to, bytes] of pieces) {
    const content = old.subarray(from * block, from * block + bytes);
    await copier.add(from, to, bytes, sha256(content));
    content.copy(expected, to * block);
  }
  const read = new Uint8Array(block);
  await partial.read(read, 10 * block);
  assert.deepEqual(Buffer.from(read), old.subarray(0, block), "a read waits for what is being copied there");
  await partial.commit();
  assert.ok((await readFile(target)).equals(expected));
});

test("an older disk that ends too early is corrupt, and one that is gone unreadable", async (t) => {
  const path = join(await folder(t), "old");
  await writeFile(path, randomBytes(block));
  for (const [name, from, code] of [
    [path, 1, "corrupt"],
    [`${path}-gone`, 0, "unreadable"],
  ] as const) {
    const partial = await PartialFile.create(join(await folder(t), "new"));
    const copier = new BlockCopier(name, name === path ? await opened(t, path) : notOpen, never);
    partial.lend(copier);
    await copier.add(from, 0, block, sha256(new Uint8Array(1)));
    await assert.rejects(partial.commit(), { code });
    await partial.discard();
  }
});

test("a flipped bit in any content of the older disk is refused with its block, whichever thread copies it", async (t) => {
  const { layout, image, path, starts } = await oldDisk(t);
  const output = await folder(t);
  const handle = await open(path, "r+");
  t.after(() => handle.close());
  for (const start of starts) {
    const byte = new Uint8Array(1);
    const position = start * block + 777_777;
    await handle.read(byte, 0, 1, position);
    await handle.write(Uint8Array.of(byte[0] ^ 0x10), 0, 1, position);
    await assert.rejects(buildTestDisk(output, layout, [image], { from: path }), (error) => {
      assert.ok(error instanceof DiskError);
      assert.equal(error.code, "corrupt");
      assert.equal(
        error.message,
        `${path}: the content at block ${start} is not what its digest says; build without --from`,
      );
      return true;
    });
    assert.deepEqual(await readdir(output), []);
    await handle.write(byte, 0, 1, position);
  }
  await buildTestDisk(output, layout, [image], { from: path });
});

test("what is copied leaves the page cache", async (t) => {
  const { layout, image, path } = await oldDisk(t);
  if ((await statfs(path)).type === tmpfsMagic) return t.skip("the file system of temporary files is in memory");
  await readFile(path);
  const before = await cachedPages(path);
  assert.ok(before * block > 14 << 20);
  await buildTestDisk(await folder(t), layout, [image], { from: path });
  assert.ok((await cachedPages(path)) < before / 2);
});

test("a build that is aborted while contents are copied rejects with the reason and leaves nothing", async (t) => {
  const { layout, image, path } = await oldDisk(t);
  const output = await folder(t);
  for (const when of ["layers", "metadata", "sync"]) {
    const controller = new AbortController();
    const building = buildTestDisk(output, layout, [image], {
      from: path,
      signal: controller.signal,
      onEvent: (event) => {
        if (event.type === "layer-start" && when === "layers")
          setImmediate(() => controller.abort(new Error("stopped")));
        if (event.type === "phase" && event.phase === when) controller.abort(new Error("stopped"));
      },
    });
    await assert.rejects(building, /^Error: stopped$/);
    assert.deepEqual(await readdir(output), []);
  }
});

test("stopping leaves no thread that writes, and what was waiting rejects", async (t) => {
  const path = join(await folder(t), "old");
  const content = randomBytes(1 << 20);
  await writeFile(path, content);
  const partial = await PartialFile.create(join(await folder(t), "new"));
  const copier = new BlockCopier(path, await opened(t, path), never);
  partial.lend(copier);
  const digest = sha256(content);
  for (let i = 0; i < 500; i++) await copier.add(0, 256 * i, 1 << 20, digest);
  const settled = assert.rejects(copier.settle(), /stopped/);
  await partial.discard();
  await settled;
  assert.throws(() => copier.add(0, 0, 1, digest), /stopped/);
});
