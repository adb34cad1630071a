import {
  directory,
  file,
  gnuLong,
  gnuSparse,
  hardLink,
  header,
  pax,
  paxSparse,
  symbolicLink,
  tar,
} from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";

const sparseParts = [
  { offset: 0, data: "begin" },
  { offset: 8192, data: "middle" },
  { offset: 100_000, data: "end" },
];

const manyParts = Array.from({ length: 60 }, (_, i) => ({ offset: i * 1024, data: `part ${i}` }));

/** The forms of tar. */
export const formLayers: readonly EdgeLayer[] = [
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
];
