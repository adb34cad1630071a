import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readTar, type ShownEntry, showTree } from "../../../test/support/layer-reading.ts";
import {
  device,
  directory,
  file,
  hardLink,
  opaque,
  pax,
  symbolicLink,
  tar,
  whiteout,
} from "../../../test/support/tar-maker.ts";

async function shown(...records: readonly Buffer[]): Promise<Map<string, ShownEntry>> {
  const { tree, sink } = await readTar(tar(...records));
  return showTree(tree, sink.contents);
}

describe("applying entries", () => {
  it("ignores the root's own entry", async () => {
    const root = (await shown(directory("./", { mode: 0o700, uid: 5, mtime: 9 }))).get("/");
    assert.deepEqual([root?.mode, root?.owner, root?.mtime], ["0755", "0:0", "0"]);
  });

  it("makes missing parents 0755 0:0 and flags them, until their entry comes", async () => {
    const tree = await shown(file("a/b/c"), directory("a/b", { mode: 0o700, uid: 3, mtime: 4 }));
    assert.deepEqual([tree.get("a")?.payload, tree.get("a")?.mode, tree.get("a")?.mtime], ["implied", "0755", "0"]);
    assert.deepEqual([tree.get("a/b")?.payload, tree.get("a/b")?.mode, tree.get("a/b")?.mtime], ["", "0700", "4"]);
  });

  it("finds parents through links, never out of the root", async () => {
    const tree = await shown(symbolicLink("l", "../../x"), file("l/f"), symbolicLink("x/up", "/"), file("x/up/top"));
    assert.deepEqual([...tree.keys()], ["/", "l", "top", "x", "x/f", "x/up"]);
  });

  it("turns whiteouts into devices 0:0 with their owner, mode 0 and mtime 0", async () => {
    const gone = (await shown(whiteout("d/gone", { uid: 1, gid: 2, mode: 0o644, mtime: 9 }))).get("d/gone");
    assert.deepEqual(
      [gone?.type, gone?.mode, gone?.owner, gone?.mtime, gone?.payload],
      ["character", "0000", "1:2", "0", "0"],
    );
  });

  it("marks opaque directories before and after their entry", async () => {
    for (const records of [
      [opaque("d"), directory("d")],
      [directory("d"), opaque("d")],
    ])
      assert.deepEqual((await shown(...records)).get("d")?.xattrs, { "trusted.overlay.opaque": "y" });
  });

  it("takes AUFS left-overs for what containerd takes them", async () => {
    const tree = await shown(file(".wh..wh.aufs"), file(".wh..wh.plnk/1.2", "x"));
    assert.equal(tree.get(".wh.aufs")?.type, "character");
    assert.equal(tree.get(".wh..wh.plnk/1.2")?.type, "file");
  });

  it("lets a hard link's own mode, owner and time apply to the shared inode", async () => {
    const tree = await shown(
      file("a", "x", { mode: 0o4755, mtime: 1 }),
      hardLink("b", "a", { mode: 0o600, uid: 7, mtime: 9 }),
    );
    assert.equal(tree.get("a")?.inode, tree.get("b")?.inode);
    assert.deepEqual(
      [tree.get("a")?.mode, tree.get("a")?.owner, tree.get("a")?.mtime, tree.get("a")?.links],
      ["0600", "7:0", "9", 2],
    );
  });

  it("clears file capabilities where a hard link changes the owner after them", async () => {
    const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
    const tree = await shown(file("a", "", { xattrs: { "security.capability": capability } }), hardLink("b", "a"));
    assert.deepEqual(tree.get("a")?.xattrs, {});
  });

  it("leaves the other name of a replaced hard link alone", async () => {
    const tree = await shown(file("a", "one"), hardLink("b", "a"), file("a", "two"));
    assert.notEqual(tree.get("a")?.inode, tree.get("b")?.inode);
    assert.deepEqual([tree.get("a")?.links, tree.get("b")?.links], [1, 1]);
  });

  it("removes all below a directory that a file replaces", async () => {
    const tree = await shown(file("d/e/f"), file("d/g"), file("d", "x"), directory("d"), file("d/e"));
    assert.deepEqual([...tree.keys()], ["/", "d", "d/e"]);
    assert.equal(tree.get("d/e")?.type, "file");
  });

  it("gives a directory's time to what stands at its name in the end", async () => {
    const tree = await shown(directory("d", { mtime: 5 }), file("d", "x", { mtime: 9 }));
    assert.equal(tree.get("d")?.mtime, "5");
  });

  it("bounds times to what containerd sets", async () => {
    const times: readonly [string, string][] = [
      ["-1", "0"],
      ["-0.5", "0"],
      ["9223372036.854775807", "9223372036.854775807"],
      ["9223372036.854775808", "0"],
      ["1.0000000019", "1.000000001"],
    ];
    for (const [mtime, expected] of times)
      assert.equal((await shown(file("f", "", { pax: { mtime } }))).get("f")?.mtime, expected);
  });

  it("encodes device numbers as the kernel does", async () => {
    const tree = await shown(device("a", "4", 259, 70_000), device("b", "3", 5000, 2 ** 20 + 3));
    assert.equal(tree.get("a")?.payload, String((259 << 8) | (70_000 & 0xff) | ((70_000 & ~0xff) << 12)));
    assert.equal(tree.get("b")?.payload, String(((5000 & 0xfff) << 8) | 3));
  });

  it("keeps the low 32 bits of owners, and root's for -1", async () => {
    const tree = await shown(
      file("a", "", { pax: { uid: "4294967301", gid: "4294967295" } }),
      file("b", "", { pax: { uid: "-2" } }),
    );
    assert.equal(tree.get("a")?.owner, "5:0");
    assert.equal(tree.get("b")?.owner, "4294967294:0");
  });

  it("lets a global header remove what has its name, as containerd does", async () => {
    const tree = await shown(file("pax_global_header", "x"), pax({ comment: "c" }, { type: "g" }), file("f"));
    assert.deepEqual([...tree.keys()], ["/", "f"]);
  });

  it("inherits group and default ACL as Linux does", async () => {
    const acl = Buffer.from(
      "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff",
      "hex",
    );
    const tree = await shown(
      directory("s", { mode: 0o2755, gid: 50, xattrs: { "system.posix_acl_default": acl } }),
      file("s/implied/f", "", { mode: 0o640 }),
    );
    // The directory itself depends on the layers below: `instantiate` makes it whole.
    assert.equal(tree.get("s/implied")?.owner, "0:0");
    assert.deepEqual(tree.get("s/implied")?.xattrs ?? {}, {});
    assert.deepEqual(Object.keys(tree.get("s/implied/f")?.xattrs ?? {}), ["system.posix_acl_access"]);
  });
});
