import { gzipSync, constants as zlib, zstdCompressSync } from "node:zlib";
import {
  bytes,
  device,
  directory,
  fifo,
  file,
  gnuLong,
  gnuSparse,
  hardLink,
  header,
  opaque,
  pax,
  paxRecord,
  paxSparse,
  symbolicLink,
  tar,
  whiteout,
} from "../support/tar-maker.ts";

/**
 * Layers at the edge of what image builders make. Each stands on the layers named in `parents` (bottom to top); itself is the one under
 * test. Trees are compared with what containerd unpacks, unless `beyondContainerd` says that containerd refuses a form that is read here.
 */
export type EdgeLayer = {
  readonly name: string;
  readonly parents?: readonly string[];
  /** The layer's tar. */
  readonly tar: () => Buffer;
  /** The bytes as stored, where compression is the point; the tar itself otherwise. */
  readonly stored?: () => Buffer;
  readonly mediaType?: string;
  /** Why the layer is refused here; containerd refuses it too unless `onlyHere`. */
  readonly refused?: RegExp;
  readonly onlyHere?: boolean;
  /** containerd 1.6 accepts what containerd 2.4 and this refuse. */
  readonly sinceContainerd2?: boolean;
  /** Never give this layer to a program that writes files: it would fill the disk. */
  readonly fillsDisk?: boolean;
  readonly beyondContainerd?: string;
};

/** A file capability, `cap_net_raw+ep`, revision 2. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");

/** An ACL: owner rw, user 1000 rw, group r, mask rw, others r. */
const acl = Buffer.from(
  "02000000" + "01000600ffffffff" + "02000600e8030000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff",
  "hex",
);

const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip";
const zstdType = "application/vnd.oci.image.layer.v1.tar+zstd";

const base = () =>
  tar(
    directory("etc", { mtime: 1000 }),
    file("etc/passwd", "root:x:0:0::/:/bin/sh\n", { mtime: 1001 }),
    directory("opt", { mode: 0o2750, uid: 10, gid: 20, mtime: 1002, xattrs: { "user.note": "below" } }),
    directory("opt/app", { mode: 0o700, uid: 11, gid: 21 }),
    file("opt/app/one", "1"),
    file("opt/app/two", "2"),
    symbolicLink("link", "opt"),
    file("plain", "file"),
    hardLink("plain-too", "plain"),
  );

const simple = () => tar(directory("d", { mtime: 5 }), file("d/f", "some text\n", { mtime: 6 }));
const sparseParts = [
  { offset: 0, data: "begin" },
  { offset: 8192, data: "middle" },
  { offset: 100_000, data: "end" },
];
const manyParts = Array.from({ length: 60 }, (_, i) => ({ offset: i * 1024, data: `part ${i}` }));

function gzipMembers(data: Buffer, ...cuts: number[]): Buffer {
  const ends = [...cuts, data.length];
  return Buffer.concat(ends.map((end, i) => gzipSync(data.subarray(i === 0 ? 0 : ends[i - 1], end))));
}

function skippableFrame(data: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50, 0);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, bytes(data)]);
}

export const edgeLayers: readonly EdgeLayer[] = [
  { name: "base", tar: base },

  // Whiteouts.
  { name: "whiteout-file", parents: ["base"], tar: () => tar(whiteout("etc/passwd", { uid: 3, gid: 4, mtime: 77 })) },
  { name: "whiteout-directory", parents: ["base"], tar: () => tar(whiteout("opt")) },
  { name: "whiteout-of-nothing", parents: ["base"], tar: () => tar(whiteout("never/there")) },
  { name: "whiteout-then-entry", parents: ["base"], tar: () => tar(whiteout("plain"), file("plain", "again")) },
  { name: "whiteout-directory-then-directory", parents: ["base"], tar: () => tar(whiteout("opt"), directory("opt")) },
  {
    name: "whiteout-with-data",
    parents: ["base"],
    tar: () => tar(file(".wh.plain", "ignored data"), file("next", "n")),
  },
  { name: "opaque-first", parents: ["base"], tar: () => tar(directory("opt"), opaque("opt"), file("opt/new", "n")) },
  { name: "opaque-last", parents: ["base"], tar: () => tar(directory("opt"), file("opt/new", "n"), opaque("opt")) },
  { name: "opaque-implied", parents: ["base"], tar: () => tar(opaque("opt/app")) },
  { name: "opaque-root", parents: ["base"], tar: () => tar(opaque(""), file("only", "me")) },
  {
    name: "opaque-then-directory-replaced",
    parents: ["base"],
    tar: () => tar(opaque("opt"), file("opt", "f"), directory("opt")),
  },
  {
    name: "aufs-left-overs",
    parents: ["base"],
    tar: () =>
      tar(file(".wh..wh.aufs"), directory(".wh..wh.orph"), directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x")),
  },
  { name: "whiteout-through-link", parents: ["base"], tar: () => tar(symbolicLink("l", "opt"), whiteout("l/app")) },

  // Parents.
  { name: "missing-parents", tar: () => tar(file("a/b/c/d", "deep", { mtime: 9 })) },
  {
    name: "missing-parents-from-below",
    parents: ["base"],
    tar: () => tar(file("opt/app/three", "3"), file("opt/new/x", "x")),
  },
  {
    name: "parents-after-children",
    tar: () => tar(file("p/q/f", "f"), directory("p/q", { mode: 0o700, uid: 5 }), directory("p", { mtime: 3 })),
  },
  {
    name: "parent-in-setgid-directory",
    tar: () => tar(directory("s", { mode: 0o2775, gid: 50 }), file("s/new/f", "f")),
  },
  {
    name: "parent-is-link",
    tar: () => tar(directory("usr/lib"), symbolicLink("lib", "usr/lib"), file("lib/so", "so"), directory("lib/sub")),
  },
  { name: "parent-is-absolute-link", tar: () => tar(symbolicLink("l", "/x/y"), file("l/f", "f")) },
  { name: "parent-is-climbing-link", tar: () => tar(symbolicLink("a/l", "../../../../etc"), file("a/l/f", "f")) },
  {
    name: "parent-is-chain-of-links",
    tar: () =>
      tar(
        symbolicLink("a", "b"),
        symbolicLink("b", "c/../d"),
        file("a/x", "x"),
        symbolicLink("d/e", "../a"),
        file("a/e/y", "y"),
      ),
  },
  { name: "parent-is-dangling-link", tar: () => tar(symbolicLink("l", "nowhere/at/all"), file("l/f", "f")) },

  // Replacement.
  {
    name: "duplicate-files",
    tar: () => tar(file("f", "first"), file("g", "other"), file("f", "second", { mode: 0o600 })),
  },
  {
    name: "duplicate-directories",
    tar: () =>
      tar(
        directory("d", { mode: 0o700, xattrs: { "user.a": "1" } }),
        file("d/x", "x"),
        directory("d", { uid: 9, xattrs: { "user.b": "2" } }),
      ),
  },
  {
    name: "directory-replaced-by-file",
    tar: () => tar(directory("d"), file("d/x", "x"), file("d", "now a file", { mtime: 40 })),
  },
  {
    name: "directory-replaced-and-back",
    tar: () =>
      tar(
        directory("d", { mtime: 1 }),
        file("d/x", "x"),
        file("d", "f"),
        directory("d", { mtime: 2 }),
        file("d/y", "y"),
      ),
  },
  { name: "implied-directory-replaced", tar: () => tar(file("d/x", "x"), symbolicLink("d", "e"), file("d/y", "y")) },
  { name: "link-replaced-by-directory", tar: () => tar(symbolicLink("l", "t"), directory("l"), file("l/f", "f")) },
  { name: "file-replaces-hard-link", tar: () => tar(file("a", "one"), hardLink("b", "a"), file("a", "two")) },

  // Links.
  {
    name: "hard-links",
    tar: () => tar(file("a", "data"), hardLink("b", "a"), hardLink("d/c", "./b"), hardLink("e", "/a")),
  },
  {
    name: "hard-link-changes-inode",
    tar: () =>
      tar(
        file("a", "data", { mode: 0o4755, uid: 1, mtime: 5 }),
        hardLink("b", "a", { mode: 0o600, uid: 7, gid: 8, mtime: 9 }),
      ),
  },
  {
    name: "hard-link-drops-capability",
    tar: () =>
      tar(
        file("a", "d", { xattrs: { "security.capability": capability, "user.a": "1" } }),
        hardLink("b", "a", { xattrs: { "user.b": "2" } }),
      ),
  },
  { name: "hard-link-to-symbolic-link", tar: () => tar(symbolicLink("l", "nowhere"), hardLink("m", "l")) },
  { name: "hard-link-through-link", tar: () => tar(file("d/f", "f"), symbolicLink("l", "d"), hardLink("h", "l/f")) },
  {
    name: "hard-link-to-device",
    tar: () => tar(device("n", "3", 1, 3), hardLink("m", "n"), fifo("p"), hardLink("q", "p")),
  },
  { name: "hard-link-to-whiteout", parents: ["base"], tar: () => tar(whiteout("plain"), hardLink("w", "plain")) },
  { name: "hard-link-after-replacement", tar: () => tar(file("a", "old"), file("a", "new"), hardLink("b", "a")) },
  {
    name: "symbolic-links",
    tar: () =>
      tar(
        symbolicLink("a", "/abs"),
        symbolicLink("b", "../../out"),
        symbolicLink("c", "x".repeat(99)),
        symbolicLink("d", "a b\tc", { mode: 0 }),
      ),
  },
  { name: "long-link-target", tar: () => tar(pax({ linkpath: "t/".repeat(1500) }), symbolicLink("l", "cut")) },

  // Modes, owners, times, devices, xattrs.
  {
    name: "special-modes",
    tar: () =>
      tar(
        file("suid", "", { mode: 0o4755 }),
        file("sgid", "", { mode: 0o2755 }),
        directory("sticky", { mode: 0o1777 }),
        file("none", "", { mode: 0 }),
        file("typed", "", { mode: 0o100644 }),
      ),
  },
  {
    name: "large-owners",
    tar: () =>
      tar(
        file("a", "", { uid: 70_000, gid: 80_000 }),
        file("b", "", { uid: 2 ** 31 + 5, gid: 2 ** 32 - 2 }),
        file("c", "", { pax: { uid: "3000000000", gid: "4000000000" } }),
      ),
  },
  {
    name: "times",
    tar: () =>
      tar(
        file("neg", "", { mtime: -1 }),
        file("negpax", "", { pax: { mtime: "-0.5" } }),
        file("sub", "", { pax: { mtime: "1700000000.123456789123" } }),
        file("far", "", { mtime: 2 ** 33 }),
        file("max", "", { pax: { mtime: "9223372036.854775807" } }),
        file("past-max", "", { pax: { mtime: "9223372036.854775808" } }),
        directory("dir", { pax: { mtime: "5.25" } }),
        file("dir/f"),
      ),
  },
  {
    name: "devices",
    tar: () =>
      tar(
        device("null", "3", 1, 3),
        device("big", "4", 259, 70_000),
        device("cut", "3", 5000, 2 ** 20 + 3),
        fifo("pipe", { mode: 0o622 }),
        device("zero", "3", 0, 0, { mode: 0o600, mtime: 8 }),
      ),
  },
  {
    name: "xattrs",
    tar: () =>
      tar(
        file("cap", "x", { mode: 0o755, xattrs: { "security.capability": capability } }),
        file("bin", "", { xattrs: { "user.bin": Buffer.from([0, 10, 255, 61, 0]), "user.empty": "" } }),
        directory("dir", { xattrs: { "user.d": "v", "security.selinux": "system_u:object_r:usr_t:s0\0" } }),
        symbolicLink("l", "t", { xattrs: { "security.l": "v" } }),
      ),
  },
  {
    name: "xattrs-dropped",
    tar: () =>
      tar(
        file("f", "", { xattrs: { "trusted.overlay.opaque": "y", "unknown.x": "1", "user.kept": "1" } }),
        symbolicLink("l", "t", { xattrs: { "user.x": "1" } }),
        fifo("p", { xattrs: { "user.x": "1" } }),
      ),
  },
  {
    name: "acls",
    tar: () =>
      tar(
        file("f", "", { mode: 0o664, xattrs: { "system.posix_acl_access": acl } }),
        file("masked", "", { mode: 0o600, xattrs: { "system.posix_acl_access": acl } }),
        directory("d", { mode: 0o775, xattrs: { "system.posix_acl_default": acl } }),
        file("d/inherits", "", { mode: 0o640 }),
        directory("d/sub", { mode: 0o750 }),
      ),
  },
  {
    name: "other-attribute-records",
    tar: () =>
      tar(
        file("f", "", {
          pax: {
            "LIBARCHIVE.xattr.user.a": "djE=",
            "RHT.security.selinux": "label",
            "SCHILY.acl.access": "user::rw-",
            "vendor.key": "v",
          },
        }),
      ),
  },

  // Forms of tar.
  { name: "empty-layer", tar: () => tar() },
  { name: "no-bytes", tar: () => Buffer.alloc(0) },
  { name: "no-end-blocks", tar: () => file("f", "data") },
  { name: "one-end-block", tar: () => Buffer.concat([file("f", "data"), Buffer.alloc(512)]) },
  { name: "no-final-padding", tar: () => file("f", "data").subarray(0, 516) },
  {
    name: "bytes-after-end",
    tar: () => Buffer.concat([tar(file("f", "data")), Buffer.from("anything"), file("not", "read")]),
  },
  {
    name: "root-entries",
    tar: () => tar(directory("./", { mode: 0o700, uid: 5, mtime: 9 }), directory("/", { mode: 0o711 }), file("f")),
  },
  {
    name: "odd-names",
    tar: () =>
      tar(
        file("./a"),
        file("b//c"),
        file("d/./e"),
        file("x/../y"),
        file("/absolute"),
        directory("dir///"),
        file("sp ace\n\t*"),
      ),
  },
  {
    name: "binary-names",
    tar: () =>
      tar(
        file(Buffer.from([0xff, 0xfe, 0x2f, 0x80])),
        symbolicLink("l", Buffer.from([0xc3, 0x28])),
        pax([["path", Buffer.from([0x61, 0xff, 0x62])]]),
        file("cut"),
        file("ümläut/日本"),
      ),
  },
  {
    name: "old-v7",
    tar: () =>
      tar(
        file("f", "v7", { format: "v7", type: "\0" }),
        directory("d/", { format: "v7", type: "\0" }),
        hardLink("h", "f", { format: "v7" }),
      ),
  },
  { name: "star", tar: () => tar(file("f", "star", { format: "star", prefix: "pre/fix" })) },
  {
    name: "ustar-prefix",
    tar: () => tar(file("n".repeat(100), "x", { prefix: `${"p".repeat(100)}/${"q".repeat(54)}` })),
  },
  {
    name: "gnu-long-names",
    tar: () =>
      tar(
        gnuLong("L", `${"long/".repeat(60)}name`),
        file("cut", "x", { format: "gnu" }),
        gnuLong("K", "t/".repeat(200)),
        gnuLong("L", "l".repeat(200)),
        symbolicLink("cut", "cut", { format: "gnu" }),
      ),
  },
  {
    name: "gnu-before-pax",
    tar: () => tar(gnuLong("L", "gnu-name"), pax({ path: "pax-name" }), file("header-name", "x")),
  },
  {
    name: "gnu-prefix-of-old-go",
    tar: () => tar(file("name", "x", { format: "gnu", raw: { 345: "some/long/prefix" } })),
  },
  {
    name: "base256",
    tar: () => tar(file("f", "data", { format: "gnu", base256: true, uid: 2 ** 24, mtime: 2 ** 34 })),
  },
  { name: "signed-checksum", tar: () => tar(file("bytes-ÿÿÿ", "x", { signedChecksum: true })) },
  {
    name: "pax-values",
    tar: () =>
      tar(
        pax({ path: "x".repeat(250), size: "4", uid: "5", gid: "6", mtime: "7.5", comment: "c" }),
        header({ name: "cut", size: 0 }),
        Buffer.from("data".padEnd(512, "\0")),
        pax({ path: "" }),
        file("empty-value-keeps-header"),
      ),
  },
  {
    name: "pax-duplicates",
    tar: () =>
      tar(
        pax([
          ["path", "first"],
          ["path", "second"],
        ]),
        file("h", "1"),
        pax({ path: "lost" }),
        pax({ uid: "3" }),
        file("two-headers", "2"),
      ),
  },
  {
    name: "pax-global",
    tar: () =>
      tar(
        pax({ comment: "all", path: "g/named" }, { type: "g" }),
        file("after", "x"),
        pax({ uid: "99" }, { type: "g" }),
        file("owner-stays", "y"),
      ),
  },
  {
    name: "pax-long-key-and-newlines",
    tar: () =>
      tar(file("f", "", { pax: { [`VENDOR.${"k".repeat(500)}`]: "v\n9 a=b\n" }, xattrs: { "user.n": "\n\n" } })),
  },
  { name: "sparse-pax-0.0", tar: () => tar(paxSparse("0.0", "s", 200_000, sparseParts), file("next", "n")) },
  { name: "sparse-pax-0.1", tar: () => tar(paxSparse("0.1", "s", 200_000, sparseParts), file("next", "n")) },
  { name: "sparse-pax-1.0", tar: () => tar(paxSparse("1.0", "s", 200_000, manyParts), file("next", "n")) },
  {
    name: "sparse-large",
    tar: () =>
      tar(
        paxSparse("1.0", "big", 9 * 2 ** 20 + 5, [
          { offset: 2 ** 20 + 7, data: "x" },
          { offset: 5 * 2 ** 20, data: Buffer.alloc(2 ** 20, 7) },
        ]),
        paxSparse("1.0", "all-hole", 3 * 2 ** 20, []),
      ),
  },
  {
    name: "sparse-old-gnu",
    tar: () => tar(gnuSparse("s", 200_000, sparseParts), gnuSparse("many", 100_000, manyParts), file("next", "n")),
    beyondContainerd: "type S",
  },
  { name: "contiguous-file", tar: () => tar(file("c", "data", { type: "7" })), beyondContainerd: "type 7" },
  {
    name: "links-with-sizes",
    tar: () => tar(directory("d", { size: 4096 }), symbolicLink("l", "d", { size: 100 }), file("f", "f")),
  },
  { name: "file-with-slash", tar: () => tar(file("name/", "data")) },
  {
    name: "longest-names",
    tar: () =>
      tar(pax({ path: "n".repeat(255) }), file("cut", "x"), pax({ path: `.wh.${"w".repeat(255)}` }), file("cut")),
    parents: ["base"],
  },
  {
    name: "many-entries",
    tar: () => tar(...Array.from({ length: 3000 }, (_, i) => file(`many/${(i * 7919) % 3000}`, `${i % 10}`))),
  },
  {
    name: "large-files",
    tar: () =>
      tar(
        file("1", Buffer.alloc(2 ** 20, 1)),
        file("2", Buffer.alloc(2 ** 20 + 1, 2)),
        file("3", Buffer.alloc(5_000_000, 3)),
        file("4", Buffer.alloc(5_000_000, 3)),
      ),
  },
  {
    name: "same-contents",
    tar: () =>
      tar(file("a", "same"), file("b", "same", { uid: 4 }), file("c", "replaced"), file("c", "same"), file("empty")),
  },

  // Compression.
  { name: "gzip", tar: simple, stored: () => gzipSync(simple()), mediaType: gzipType },
  { name: "gzip-members", tar: simple, stored: () => gzipMembers(simple(), 100, 600, 601), mediaType: gzipType },
  {
    name: "estargz-like",
    tar: () => tar(file("a", "a"), file("stargz.index.json", "{}")),
    stored: () => gzipMembers(tar(file("a", "a"), file("stargz.index.json", "{}")), 512, 1024, 2048),
    mediaType: gzipType,
  },
  {
    name: "gzip-empty-member",
    tar: simple,
    stored: () => Buffer.concat([gzipSync(simple()), gzipSync("")]),
    mediaType: gzipType,
  },
  { name: "zstd", tar: simple, stored: () => zstdCompressSync(simple()), mediaType: zstdType },
  {
    name: "zstd-chunked",
    tar: simple,
    stored: () => {
      const checksum = { params: { [zlib.ZSTD_c_checksumFlag]: 1 } };
      const data = simple();
      return Buffer.concat([
        zstdCompressSync(data.subarray(0, 700)),
        skippableFrame("manifest"),
        zstdCompressSync(data.subarray(700), checksum),
        skippableFrame(""),
      ]);
    },
    mediaType: zstdType,
  },
  { name: "media-type-says-gzip", tar: simple, stored: simple, mediaType: gzipType },
  { name: "media-type-says-plain", tar: simple, stored: () => gzipSync(simple()) },

  // Refused here and by containerd.
  {
    name: "refused-hard-link-target-below",
    parents: ["base"],
    tar: () => tar(hardLink("h", "plain")),
    refused: /not in the same layer/,
  },
  {
    name: "refused-hard-link-before-target",
    tar: () => tar(hardLink("h", "f"), file("f", "x")),
    refused: /not in the same layer/,
  },
  {
    name: "refused-hard-link-to-itself",
    tar: () => tar(file("f", "x"), hardLink("f", "f")),
    refused: /not in the same layer/,
  },
  { name: "refused-hard-link-to-directory", tar: () => tar(directory("d"), hardLink("h", "d")), refused: /directory/ },
  { name: "refused-hard-link-without-target", tar: () => tar(hardLink("h", "")), refused: /not in the same layer/ },
  {
    name: "refused-whiteout-over-entry",
    parents: ["base"],
    tar: () => tar(file("f", "x"), whiteout("f")),
    refused: /whiteout of an entry/,
  },
  {
    name: "refused-whiteout-twice",
    parents: ["base"],
    tar: () => tar(whiteout("plain"), whiteout("plain")),
    refused: /whiteout of an entry/,
  },
  {
    name: "refused-whiteout-of-no-name",
    parents: ["base"],
    tar: () => tar(file("d/.wh.")),
    refused: /whiteout of no name/,
  },
  {
    name: "refused-whiteout-of-dot-dot",
    parents: ["base"],
    tar: () => tar(file("d/.wh...")),
    refused: /whiteout of no name/,
  },
  { name: "refused-parent-is-file", tar: () => tar(file("f", "x"), file("f/g", "y")), refused: /not a directory/ },
  {
    name: "refused-parent-is-whiteout",
    parents: ["base"],
    tar: () => tar(whiteout("opt"), file("opt/f", "y")),
    refused: /not a directory/,
  },
  {
    name: "refused-link-loop",
    tar: () => tar(symbolicLink("a", "b"), symbolicLink("b", "a"), file("a/f", "x")),
    refused: /too many links/,
  },
  { name: "refused-long-name", tar: () => tar(pax({ path: "n".repeat(256) }), file("cut")), refused: /255 bytes/ },
  { name: "refused-empty-link", tar: () => tar(symbolicLink("l", "")), refused: /without a target/ },
  { name: "refused-unknown-type", tar: () => tar(file("f", "x", { type: "V" })), refused: /type .* 'V'/ },
  {
    name: "refused-default-acl-on-file",
    tar: () => tar(file("f", "", { xattrs: { "system.posix_acl_default": acl } })),
    refused: /directories only/,
  },
  {
    name: "refused-bad-acl",
    tar: () => tar(file("f", "", { xattrs: { "system.posix_acl_access": "x" } })),
    refused: /malformed/,
  },
  {
    name: "refused-bad-capability",
    tar: () => tar(file("f", "", { xattrs: { "security.capability": "x" } })),
    refused: /capability/,
  },
  {
    name: "refused-directory-gone",
    tar: () => tar(directory("d/e"), symbolicLink("d", "x")),
    refused: /gone at the end/,
  },
  { name: "refused-checksum", tar: () => tar(file("f", "x", { rawAfterChecksum: { 0: "g" } })), refused: /checksum/ },
  { name: "refused-number", tar: () => tar(file("f", "", { mode: "not octal".slice(0, 8) })), refused: /octal/ },
  { name: "refused-negative-size", tar: () => tar(header({ name: "f", size: -1 })), refused: /negative/ },
  { name: "refused-negative-pax-size", tar: () => tar(pax({ size: "-5" }), file("f")), refused: /negative/ },
  { name: "refused-pax-nul", tar: () => tar(pax([["path", "a\0b"]]), file("f")), refused: /NUL/ },
  {
    name: "refused-pax-length",
    tar: () =>
      tar(
        Buffer.concat([header({ name: "x", type: "x", size: 10 }), Buffer.from("99 a=b\n".padEnd(512, "\0"))]),
        file("f"),
      ),
    refused: /malformed/,
  },
  { name: "refused-pax-number", tar: () => tar(pax({ uid: "12x" }), file("f")), refused: /decimal/ },
  { name: "refused-pax-time", tar: () => tar(pax({ mtime: "1.2.3" }), file("f")), refused: /decimal/ },
  {
    name: "refused-pax-too-long",
    tar: () => tar(pax({ comment: "c".repeat(2 ** 20) }), file("f")),
    refused: /pax-bytes/,
  },
  { name: "refused-cut-in-data", tar: () => file("f", "x".repeat(600)).subarray(0, 1000), refused: /cut short/ },
  { name: "refused-cut-in-header", tar: () => file("f", "").subarray(0, 300), refused: /cut short/ },
  {
    name: "refused-entry-after-zero-block",
    tar: () => Buffer.concat([Buffer.alloc(512), file("f", "x")]),
    refused: /zero block/,
  },
  {
    name: "refused-sparse-overlap",
    tar: () =>
      tar(
        paxSparse("0.1", "s", 1000, [
          { offset: 10, data: "abc" },
          { offset: 5, data: "x" },
        ]),
      ),
    refused: /sparse map/,
  },
  {
    name: "refused-sparse-beyond-size",
    tar: () => tar(paxSparse("1.0", "s", 5, [{ offset: 10, data: "abc" }])),
    refused: /sparse map/,
  },
  {
    name: "refused-sparse-missing-data",
    tar: () =>
      tar(paxSparse("0.1", "s", 1000, [{ offset: 0, data: "abc" }], { size: 0, pax: { "GNU.sparse.map": "0,700" } })),
    refused: /sparse map/,
  },
  {
    name: "refused-gzip-cut",
    tar: simple,
    stored: () => gzipSync(simple()).subarray(0, -6),
    mediaType: gzipType,
    refused: /cut short/,
  },
  {
    name: "refused-gzip-garbage",
    tar: simple,
    stored: () => Buffer.concat([gzipSync(simple()), Buffer.from("garbage")]),
    mediaType: gzipType,
    refused: /gzip stream is damaged/,
  },
  {
    name: "refused-zstd-cut",
    tar: simple,
    stored: () => zstdCompressSync(simple()).subarray(0, -3),
    mediaType: zstdType,
    refused: /cut short/,
  },
  {
    name: "refused-zstd-garbage",
    tar: simple,
    stored: () => Buffer.concat([zstdCompressSync(simple()), Buffer.from("garbage!")]),
    mediaType: zstdType,
    refused: /zstd stream is damaged/,
  },
  {
    name: "refused-device-out-of-range",
    tar: () => tar(device("d", "3", -1, 0)),
    refused: /out of range/,
    sinceContainerd2: true,
  },

  // Refused here only.
  { name: "refused-climbing-name", tar: () => tar(file("../f", "x")), refused: /out of the root/, onlyHere: true },
  {
    name: "refused-climbing-within",
    tar: () => tar(file("a/../../f", "x")),
    refused: /out of the root/,
    onlyHere: true,
  },
  {
    name: "refused-climbing-hard-link",
    tar: () => tar(file("f", "x"), hardLink("h", "../f")),
    refused: /out of the root/,
    onlyHere: true,
  },
  {
    name: "refused-petabyte-sparse",
    tar: () => tar(paxSparse("1.0", "s", 2 ** 50, [])),
    refused: /file-bytes/,
    onlyHere: true,
    fillsDisk: true,
  },
  {
    name: "refused-deep-path",
    tar: () => tar(pax([["path", "d/".repeat(300_000)]]), file("f")),
    refused: /path-bytes/,
  },
  {
    name: "refused-record-without-newline",
    tar: () =>
      tar(
        Buffer.concat([
          header({ name: "x", type: "x", size: 9 }),
          Buffer.concat([paxRecord("a", "bcd").subarray(0, -1), Buffer.alloc(504)]),
        ]),
        file("f"),
      ),
    refused: /malformed/,
  },
];
