import { directory, file, hardLink, symbolicLink, tar } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";

/** Parents that are missing, links or replaced, and entries that replace one another. */
export const parentLayers: readonly EdgeLayer[] = [
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
];
