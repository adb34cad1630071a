import { device, directory, fifo, file, symbolicLink, tar } from "../../support/tar-maker.ts";
import type { EdgeLayer } from "../edge-layer.ts";
import { acl, capability } from "./parts.ts";

/** Modes, owners, times, devices and extended attributes. */
export const attributeLayers: readonly EdgeLayer[] = [
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
];
