import { directory, fifo, file, hardLink, opaque, symbolicLink, tar, whiteout } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";
import { acl, minimalAcl, otherAcl } from "./parts.ts";

const access = "system.posix_acl_access";
const inherited = "system.posix_acl_default";

const parents = ["acl-base"];
const over = (name: string, make: () => Buffer): EdgeLayer => ({ name, parents, tar: make });

/** Directories that the tar implies and that have a default ACL in a layer below, and tars that contradict themselves about them. */
export const aclLayers: readonly EdgeLayer[] = [
  {
    name: "acl-base",
    tar: () =>
      tar(
        directory("acl", { mode: 0o2770, gid: 30, xattrs: { [access]: acl, [inherited]: acl, "user.note": "below" } }),
        directory("acl/deep", { mode: 0o755 }),
        directory("acl/other", { mode: 0o750, xattrs: { [inherited]: otherAcl } }),
        directory("minimal", { mode: 0o700, xattrs: { [inherited]: minimalAcl } }),
        directory("plain", { mode: 0o711, uid: 4, xattrs: { "user.note": "plain" } }),
        file("plain/file", "f"),
        file("file", "f"),
      ),
  },
  over("acl-reaches-files", () =>
    tar(
      file("acl/f", "f", { mode: 0o640 }),
      directory("acl/d", { mode: 0o711 }),
      file("acl/d/f", "f", { mode: 0o4755 }),
      symbolicLink("acl/l", "f"),
      fifo("acl/p", { mode: 0o622 }),
      whiteout("acl/deep"),
    ),
  ),
  over("acl-reaches-implied", () =>
    tar(
      file("acl/new/er/f", "f"),
      file("acl/other/f", "f", { mode: 0o600 }),
      file("acl/deep/f", "f", { mode: 0o604 }),
      file("minimal/new/f", "f", { mode: 0o666 }),
    ),
  ),
  over("acl-own-instead", () =>
    tar(
      file("acl/f", "f", { mode: 0o640, xattrs: { [access]: otherAcl } }),
      file("acl/none", "f", { mode: 0o640, xattrs: { [access]: minimalAcl } }),
      directory("acl/d", { xattrs: { [inherited]: otherAcl } }),
      file("acl/d/f"),
      directory("acl/empty", { xattrs: { [inherited]: "" } }),
      file("acl/empty/f"),
    ),
  ),
  over("acl-directory-after-files", () =>
    tar(file("acl/f", "f"), directory("acl", { mode: 0o700, uid: 3, xattrs: { "user.own": "1" } }), file("acl/g", "g")),
  ),
  over("acl-directory-after-files-with-own", () =>
    tar(
      file("acl/f", "f"),
      directory("acl", { mode: 0o750, xattrs: { [inherited]: otherAcl, [access]: minimalAcl } }),
      file("acl/g", "g"),
    ),
  ),
  over("xattrs-of-directory-after-files", () =>
    tar(file("plain/f", "f"), directory("plain", { mode: 0o700 }), file("plain/sub/f", "f"), directory("plain/sub")),
  ),
  over("acl-set-after-files", () =>
    tar(
      file("new/a/f", "f"),
      directory("new", { mode: 0o2755, gid: 8, xattrs: { [inherited]: acl } }),
      file("new/b/f", "f"),
    ),
  ),
  over("acl-directory-twice", () =>
    tar(
      directory("x", { mode: 0o2755, gid: 5, xattrs: { [inherited]: acl } }),
      file("x/a/f", "f"),
      directory("x", { mode: 0o755, xattrs: { [inherited]: otherAcl } }),
      file("x/b/f", "f"),
    ),
  ),
  over("acl-and-hard-links", () =>
    tar(
      file("acl/f", "f", { mode: 0o640 }),
      hardLink("out", "acl/f", { mode: 0o666 }),
      file("in", "i", { mode: 0o600 }),
      hardLink("acl/in", "in", { mode: 0o644 }),
      hardLink("acl/other/f", "acl/f", { mode: 0o604 }),
    ),
  ),
  over("acl-and-first-name-gone", () =>
    tar(file("acl/f", "f"), hardLink("kept", "acl/f"), file("acl", "a file now"), hardLink("again", "kept")),
  ),
  over("acl-opaque", () => tar(opaque("acl"), file("acl/f", "f"), directory("acl/deep"), file("acl/deep/f"))),
  over("implied-then-replaced", () => tar(file("acl/f", "f"), file("acl", "file"), directory("acl"), file("acl/g"))),
  over("implied-then-replaced-and-implied", () =>
    tar(file("acl/a/f", "f"), symbolicLink("acl/a", "deep"), file("acl/a/g", "g"), directory("other")),
  ),
  {
    name: "acl-of-chain",
    parents: ["acl-base", "acl-reaches-files"],
    tar: () => tar(file("acl/d/g", "g"), file("acl/d/new/f", "f"), file("acl/f", "again")),
  },
];

/** containerd looks at what is below when it makes a directory, even if the directory is gone in the end. */
export const aclRefusals: readonly EdgeLayer[] = [
  {
    name: "implied-below-a-file-then-replaced",
    parents,
    tar: () => tar(file("file/d/f", "f"), file("file/d", "replaced")),
    refused: /"file", which is no directory in a lower layer/,
    onChain: true,
  },
  {
    name: "implied-below-a-file-then-entered",
    parents,
    tar: () => tar(file("file/d/f", "f"), directory("file/d"), directory("file")),
    refused: /"file", which is no directory in a lower layer/,
    onChain: true,
  },
];
