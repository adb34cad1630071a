import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { setTimeout } from "node:timers/promises";
import { buildTestDisk, type TestBuildOptions } from "../../../test/support/disk-maker.ts";
import { type LayerInput, type MadeImage, makeImage } from "../../../test/support/image-maker.ts";
import { imageOfLayout } from "../../../test/support/layout-image.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { tar as archive, directory, file, opaque, symbolicLink, whiteout } from "../../../test/support/tar-maker.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { MemorySource } from "../../filesystem/byte-source.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import { DiskReader } from "../reader/disk-reader.ts";
import { verifyDisk } from "../verify/verify-disk.ts";
import type { BuildReport } from "./contract.ts";
import { OldDisk } from "./old-disk/old-disk.ts";

/** Bytes that are the same at every call and do not repeat. */
function noise(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0, x = seed * 2654435761; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

const base = archive(
  directory("etc/"),
  file("etc/passwd", "root:x:0:0\n"),
  file("big", noise(1, 3_500_000)),
  directory("gone/"),
  file("gone/file", "x"),
  symbolicLink("link", "etc/passwd"),
);
const application = archive(
  file("etc/app.conf", "conf"),
  file("big-copy", noise(1, 3_500_000)),
  file("twice", "first"),
  file("twice", "second"),
  whiteout("gone"),
);
const other = archive(
  directory("etc/"),
  opaque("etc"),
  file("etc/passwd", "root:x:0:0\n"),
  file("tool", noise(2, 900_000)),
);

type Set = { readonly layout: string; readonly images: MadeImage[] };

async function imageSet(folder: string, ...stacks: LayerInput[][]): Promise<Set> {
  const layout = join(folder, "layout");
  const images: MadeImage[] = [];
  for (const layers of stacks) images.push(await makeImage(layout, { layers, created: "2024-05-06T07:08:09Z" }));
  return { layout, images };
}

const stacks: LayerInput[][] = [
  [{ tar: base }, { tar: application }],
  [{ tar: base, compression: "zstd" }, { tar: other }],
  [{ tar: other, compression: "none" }],
];

async function build(
  scope: Scope,
  set: Set,
  options: TestBuildOptions = {},
): Promise<{ report: BuildReport; bytes: Buffer }> {
  const folder = await temporaryDirectory(scope, "disk");
  const report = await buildTestDisk(folder, set.layout, set.images, options);
  return { report, bytes: await readFile(report.path) };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("any number of jobs, any order of images and a second run give identical bytes", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const options = { blobs: true, erofsCache: true };
  const one = await build(scope, set, { ...options, jobs: 1 });
  const four = await build(scope, { ...set, images: [...set.images] }, { ...options, jobs: 4 });
  assert.equal(sha256(one.bytes), sha256(four.bytes));
});

test("with --from the bytes are those of a build without it, and no layer is fetched", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const old = await build(scope, set);
  const changed = await imageSet(
    await temporaryDirectory(scope),
    [{ tar: base }, { tar: application }, { tar: archive(file("etc/new", "new")) }],
    [{ tar: base }, { tar: other }],
  );
  const fresh = await build(scope, changed);
  const reused = await build(scope, changed, { from: old.report.path });
  assert.equal(sha256(reused.bytes), sha256(fresh.bytes));
  const added = changed.images[0].layers[2].descriptor.size;
  assert.equal(reused.report.bytes.fetched, added);
  assert.ok(fresh.report.bytes.fetched > 100 * added);
});

test("--from does not reuse a layer with whiteouts that has become the lowest: they mean another thing there", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const old = await build(scope, set);
  const moved = await imageSet(await temporaryDirectory(scope), [{ tar: base }], [{ tar: other }]);
  const fresh = await build(scope, moved);
  const reused = await build(scope, moved, { from: old.report.path });
  assert.equal(sha256(reused.bytes), sha256(fresh.bytes));
  assert.equal(reused.report.bytes.fetched, moved.images[1].layers[0].descriptor.size);
});

test("--from may be the output itself", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const set = await imageSet(folder, ...stacks);
  const first = await buildTestDisk(folder, set.layout, set.images);
  const before = sha256(await readFile(first.path));
  const second = await buildTestDisk(folder, set.layout, set.images, { from: first.path });
  assert.equal(sha256(await readFile(second.path)), before);
  assert.equal(second.bytes.fetched, 0);
});

test("an older disk stays the one that was opened, whatever comes to lie at its path", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const old = await build(scope, set);
  const { signal } = new AbortController();
  const opened = await OldDisk.open(old.report.path, signal);
  scope.defer(() => opened.close());
  const other = await build(scope, await imageSet(await temporaryDirectory(scope), [{ tar: archive(file("a", "b")) }]));
  await rename(other.report.path, old.report.path);
  const reused = await build(scope, set, { from: opened, signal });
  assert.equal(sha256(reused.bytes), sha256(old.bytes));
  assert.equal(reused.report.bytes.fetched, 0);
});

test("--blobs fetches the blobs that the older disk lacks, and copies those that it has", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const fresh = await build(scope, set, { blobs: true });
  const without = await build(scope, set);
  const fetching = await build(scope, set, { blobs: true, from: without.report.path });
  const copying = await build(scope, set, { blobs: true, from: fresh.report.path });
  assert.equal(sha256(fetching.bytes), sha256(fresh.bytes));
  assert.equal(sha256(copying.bytes), sha256(fresh.bytes));
  assert.equal(copying.report.bytes.fetched, 0);
  assert.ok(fetching.report.bytes.fetched > 0);
});

test("a damaged older disk is refused, whatever byte of what is used has changed", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const old = await build(scope, set);
  const folder = await temporaryDirectory(scope);
  // All but the blobs (documents come anew) and the padding behind contents.
  const marks = [noise(1, 64), Buffer.from("root:x:0:0\n"), Buffer.from("app.conf"), Buffer.from('"layers"')];
  for (const mark of marks) {
    const at = old.bytes.lastIndexOf(mark);
    assert.ok(at > 0);
    const damaged = Buffer.from(old.bytes);
    damaged[at] ^= 1;
    const path = join(folder, "damaged.erofs");
    await writeFile(path, damaged);
    await assert.rejects(build(scope, set, { from: path }), /digest|id|nodewarm/);
  }
});

test("--from refuses an index that names the tree of another layer", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const old = await build(scope, set);
  const [base, other] = [set.images[0].layers[0], set.images[2].layers[0]].map(({ diffID }) =>
    Buffer.from(`"tree": "layers/${diffID.slice("sha256:".length)}"`),
  );
  for (let at = old.bytes.indexOf(base); at >= 0; at = old.bytes.indexOf(base)) other.copy(old.bytes, at);
  await writeFile(old.report.path, old.bytes);
  await assert.rejects(build(scope, set, { from: old.report.path }), { code: "corrupt" });
});

test("implied directories in a setgid directory with a default ACL inherit both, and are so with --from", async () => {
  await using scope = new AsyncDisposableStack();
  const acl = Buffer.from(
    "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff",
    "hex",
  );
  const outer = directory("a/", { mode: 0o2755, gid: 50, xattrs: { "system.posix_acl_default": acl } });
  const below = archive(
    directory("a/"),
    directory("a/below/", { mode: 0o700, xattrs: { "system.posix_acl_default": acl, "user.x": "1" } }),
  );
  const upper = archive(outer, file("a/below/file", "1"), file("a/new/file", "1"));
  const set = await imageSet(await temporaryDirectory(scope), [{ tar: below }, { tar: upper }]);
  const fresh = await build(scope, set);
  const reused = await build(scope, set, { from: fresh.report.path });
  assert.equal(sha256(reused.bytes), sha256(fresh.bytes));
  const disk = await DiskReader.open(new MemorySource(fresh.bytes));
  const tree = disk.index.images[0].tree;
  const acls = ["system.posix_acl_access", "system.posix_acl_default"];
  for (const [path, mode, gid, names] of [
    ["a/new", 0o40755, 50, acls],
    ["a/below", 0o40700, 0, [...acls, "user.x"]],
  ] as const) {
    const inode = await disk.lookup(`${tree}/${path}`);
    const found = (await disk.image.xattrs(inode)).map(({ name }) => Buffer.from(name).toString());
    assert.deepEqual([inode.mode, inode.gid, found], [mode, gid, names], path);
  }
  assert.deepEqual((await verifyDisk(new MemorySource(fresh.bytes))).problems, []);
});

test("manifests that differ in the size of a layer are refused, in any order of images", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const set = await imageSet(folder, [{ tar: base }], [{ tar: base }, { tar: application }]);
  const [right, other] = await Promise.all(
    set.images.map(({ manifest }, i) => imageOfLayout(set.layout, manifest, [`example.com/test/image:${i}`])),
  );
  const layers = other.layers.map(({ descriptor, diffID }) => ({
    descriptor: { ...descriptor, size: descriptor.size + 5000 },
    diffID,
  }));
  const wrong = { ...other, layers };
  for (const images of [
    [right, wrong],
    [wrong, right],
  ])
    await assert.rejects(build(scope, set, { images, blobs: true }), { code: "invalid-image" });
});

test("a failed build leaves the disk that was there and nothing else", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const set = await imageSet(await temporaryDirectory(scope), [{ tar: archive(file("../../escape", "x")) }]);
  await mkdir(join(folder, "out"));
  await writeFile(join(folder, "out", "disk.erofs"), "old disk");
  await assert.rejects(
    buildTestDisk(join(folder, "out"), set.layout, set.images),
    /image example\.com\/test\/image:0, layer sha256:.*escape/,
  );
  assert.deepEqual(await readdir(join(folder, "out")), ["disk.erofs"]);
  assert.equal(await readFile(join(folder, "out", "disk.erofs"), "utf8"), "old disk");
});

test("when one layer fails, the sources of those that wait for their turn are closed", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  // More than what may be read ahead.
  const large = (seed: number): LayerInput => ({
    tar: archive(...Array.from({ length: 20 }, (_, i) => file(`${i}`, noise(100 * seed + i, 1 << 20)))),
    compression: "none",
  });
  const set = await imageSet(folder, [large(1), large(2), large(3)]);
  const image = await imageOfLayout(set.layout, set.images[0].manifest, ["example.com/test/image:0"]);
  const [first] = image.layers.map(({ diffID }) => diffID).sort();
  const open = new Set<number>();
  const failing: typeof image = {
    ...image,
    async *openLayer(index, options) {
      open.add(index);
      try {
        if (image.layers[index].diffID !== first) yield* image.openLayer(index, options);
        await setTimeout(500);
        throw new Error("the source broke");
      } finally {
        open.delete(index);
      }
    },
  };
  await assert.rejects(
    buildTestDisk(folder, set.layout, set.images, { images: [failing], jobs: 3 }),
    /the source broke/,
  );
  await waitUntil("no layer is open", async () => open.size === 0);
});

test("a layer that fails ends the build before the layers ahead of it are read", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const layout = join(folder, "layout");
  const made = await makeImage(layout, { layers: [{ tar: base }, { tar: other }] });
  const [first, second] = [...made.layers].sort((a, b) => (a.diffID < b.diffID ? -1 : 1));
  const image = await imageOfLayout(layout, made.manifest, ["example.com/test/image:0"]);
  const failing: ResolvedImage = {
    ...image,
    openLayer: async function* (index) {
      if (image.layers[index].diffID === second.diffID) throw new Error("the registry has lost it");
      // The layer whose turn it is never comes.
      await new Promise(() => {});
      yield new Uint8Array(0);
    },
  };
  assert.notEqual(first.diffID, second.diffID);
  await assert.rejects(buildTestDisk(folder, layout, [], { images: [failing] }), /the registry has lost it/);
});

test("an aborted build rejects with the reason and leaves nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const controller = new AbortController();
  const building = buildTestDisk(folder, set.layout, set.images, {
    signal: controller.signal,
    onEvent: (event) => {
      if (event.type === "layer-progress") controller.abort(new Error("stopped by hand"));
    },
  });
  await assert.rejects(building, /stopped by hand/);
  assert.deepEqual(await readdir(folder), []);
});

test("more entries than the limit end the build with its name", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  await assert.rejects(build(scope, set, { limits: { "disk-entries": 5 } }), /--limit disk-entries/);
});

test("the report adds up", async () => {
  await using scope = new AsyncDisposableStack();
  const set = await imageSet(await temporaryDirectory(scope), ...stacks);
  const { report, bytes } = await build(scope, set, { blobs: true, erofsCache: true });
  const { contents, blobs, layerImages, metadata } = report.bytes;
  assert.equal(report.sizeBytes, bytes.length);
  assert.equal(contents + blobs + layerImages + metadata, bytes.length);
  assert.equal(report.images, 3);
  assert.equal(report.layers, 3);
  // big, etc/passwd, gone/file, etc/app.conf, twice, tool
  assert.equal(report.files, 6);
  assert.equal(report.bytes.deduplicated, 3_500_000 + "root:x:0:0\n".length);
  assert.equal(report.created, "2023-11-14T22:13:20Z");
});
