import { directory, file, hardLink, symbolicLink, tar } from "../support/tar-maker.ts";
import type { EdgeLayer } from "./edge-layer.ts";
import { aclLayers, aclRefusals } from "./edge-layers/acls-from-below.ts";
import { attributeLayers } from "./edge-layers/attributes.ts";
import { compressionLayers } from "./edge-layers/compression.ts";
import { formLayers } from "./edge-layers/forms.ts";
import { linkLayers } from "./edge-layers/links.ts";
import { parentLayers } from "./edge-layers/parents-and-replacement.ts";
import { refusedLayers } from "./edge-layers/refusals.ts";
import { whiteoutLayers } from "./edge-layers/whiteouts.ts";

export type { EdgeLayer } from "./edge-layer.ts";

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

export const edgeLayers: readonly EdgeLayer[] = [
  { name: "base", tar: base },
  ...whiteoutLayers,
  ...parentLayers,
  ...linkLayers,
  ...attributeLayers,
  ...aclLayers,
  ...formLayers,
  ...compressionLayers,
  ...refusedLayers,
  ...aclRefusals,
];
