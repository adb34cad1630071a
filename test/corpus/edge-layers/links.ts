import { device, fifo, file, hardLink, pax, symbolicLink, tar, whiteout } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";
import { capability } from "./parts.ts";

/** Hard and symbolic links. */
export const linkLayers: readonly EdgeLayer[] = [
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
];
