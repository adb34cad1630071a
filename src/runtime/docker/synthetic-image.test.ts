import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import type { IndexImage } from "../../disk/reader/disk-index.ts";
import { parseTarHeader } from "../../oci/files/tar-header.ts";
import { formatDiskLink, parseDiskLink } from "./disk-link.ts";
import { makeArchive, makeSyntheticImage, makeSyntheticLayer, readOwnConfig } from "./synthetic-image.ts";
import { tarMember } from "./tar-member.ts";

const hex = "ab".repeat(32);
const tree = `images/${hex}`;
const descriptor = { mediaType: "application/json", digest: `sha256:${hex}`, size: 1 } as const;
const image: IndexImage = {
  names: ["example.com/app:1"],
  target: descriptor,
  manifest: descriptor,
  config: descriptor,
  platform: { os: "linux", architecture: "amd64" },
  tree,
  layers: [],
};

function synthetic(config: unknown) {
  return makeSyntheticImage(image, tree, Buffer.from(JSON.stringify(config)));
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

test("the config keeps what is the image's own and has the one layer", () => {
  const own = { architecture: "amd64", os: "linux", config: { Cmd: ["/app"], Labels: { a: "b" } }, unknown: [1] };
  const made = synthetic({ ...own, rootfs: { type: "layers", diff_ids: ["sha256:1", "sha256:2"] } });
  const { rootfs, nodewarm, ...rest } = JSON.parse(made.config.toString());
  assert.deepEqual(rest, own);
  assert.deepEqual(rootfs, { type: "layers", diff_ids: [digest(made.layer.tar)] });
  assert.deepEqual(nodewarm, { tree, config: descriptor.digest });
  assert.equal(made.id, digest(made.config));
});

test("of the history one step keeps the layer, as Docker refuses more steps with layers than layers", () => {
  const steps = (...empty: (boolean | undefined)[]) =>
    empty.map((each, index) => ({ created_by: `step ${index}`, ...(each !== undefined && { empty_layer: each }) }));
  const emptied = (history: unknown) =>
    JSON.parse(synthetic({ history }).config.toString()).history.map(
      (step: { empty_layer?: boolean }) => step.empty_layer === true,
    );
  assert.deepEqual(emptied(steps(undefined, false, true, undefined, true)), [true, true, true, false, true]);
  assert.deepEqual(emptied(steps(true, true)), [true, true]);
  assert.deepEqual(emptied([]), []);
  assert.equal("history" in JSON.parse(synthetic({}).config.toString()), false);
});

test("a tree has the same layer on every disk, and other trees others", () => {
  assert.equal(makeSyntheticLayer(tree).diffID, makeSyntheticLayer(tree).diffID);
  assert.notEqual(makeSyntheticLayer(tree).diffID, makeSyntheticLayer(`layers/${hex}`).diffID);
});

test("a config of ours is known again, and no other is taken for one", () => {
  const made = synthetic({ os: "linux" });
  assert.deepEqual(readOwnConfig(made.config), { tree, config: descriptor.digest, diffID: made.layer.diffID });
  const document = JSON.parse(made.config.toString());
  for (const other of [
    { os: "linux" },
    { ...document, nodewarm: undefined, config: { Env: ["nodewarm"] } },
    { ...document, nodewarm: { ...document.nodewarm, tree: "../../etc" } },
    { ...document, nodewarm: { tree } },
    // A build on top.
    { ...document, rootfs: { type: "layers", diff_ids: [made.layer.diffID, made.layer.diffID] } },
    { ...document, rootfs: { type: "layers", diff_ids: [] } },
  ]) {
    assert.equal(readOwnConfig(Buffer.from(JSON.stringify(other))), undefined, JSON.stringify(other));
  }
  assert.equal(readOwnConfig(Buffer.from('{"nodewarm": cut')), undefined);
});

test("what is no config is refused with the name of the image", () => {
  for (const text of ["", "[]", "null", "{"]) {
    assert.throws(() => makeSyntheticImage(image, tree, Buffer.from(text)), /example\.com\/app:1/);
  }
});

test("an archive lists each image and layer once", () => {
  const one = synthetic({ os: "linux" });
  const other = synthetic({ os: "linux", author: "x" });
  const archive = makeArchive([one, other, one]);
  const names: string[] = [];
  let manifest = "";
  for (let at = 0; ; ) {
    const header = parseTarHeader(archive.subarray(at, at + 512), "archive");
    if (header === undefined) break;
    names.push(header.name);
    manifest = archive.toString("utf8", at + 512, at + 512 + header.size);
    at += 512 + Math.ceil(header.size / 512) * 512;
  }
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.length, 1 + 2 + 1);
  const listed: { Config: string; RepoTags: null; Layers: string[] }[] = JSON.parse(manifest);
  assert.equal(listed.length, 2);
  for (const { Config, RepoTags, Layers } of listed) {
    assert.equal(RepoTags, null);
    assert.ok(names.includes(Config) && Layers.every((name) => names.includes(name)));
  }
});

test("members of an archive can be read back, whatever their size", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), fc.stringMatching(/^[a-z./]{1,100}$/), (data, name) => {
      const member = tarMember(name, data);
      const header = parseTarHeader(member.subarray(0, 512), "member");
      assert.deepEqual([header?.name, header?.size, header?.type], [name, data.length, "0"]);
      assert.equal(member.length % 512, 0);
      assert.deepEqual(member.subarray(512, 512 + data.length), Buffer.from(data));
    }),
  );
  assert.throws(() => tarMember("x".repeat(101), Buffer.alloc(0)), RangeError);
});

test("links to disks are read as they are written, and others are not taken for ours", () => {
  const link = { disk: "cd".repeat(32), tree };
  const target = formatDiskLink(link);
  assert.deepEqual(parseDiskLink(target), link);
  for (const other of [
    `${target}/etc`,
    `${target}/../x`,
    target.slice(0, -1),
    target.replace("images/", "blobs/"),
    target.replace("/run/", "/tmp/"),
    `/x${target}`,
    "nodewarm-tree",
    "",
  ]) {
    assert.equal(parseDiskLink(other), undefined, other);
  }
});
