import { directory, file, opaque, symbolicLink, tar, whiteout } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";

/** Whiteouts and opaque directories. */
export const whiteoutLayers: readonly EdgeLayer[] = [
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
];
