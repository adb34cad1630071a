import { gzipSync, zstdCompressSync } from "node:zlib";
import {
  device,
  directory,
  file,
  hardLink,
  header,
  pax,
  paxRecord,
  paxSparse,
  symbolicLink,
  tar,
  whiteout,
} from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";
import { acl, gzipType, simple, zstdType } from "./parts.ts";

/** What is refused: by containerd too, and at the end here only. */
export const refusedLayers: readonly EdgeLayer[] = [
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
