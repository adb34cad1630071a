import assert from "node:assert/strict";
import type { ContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { ejectDisks } from "../../../src/runtime/containerd/eject/eject-disks.ts";
import type { EjectOptions, EjectReport } from "../../../src/runtime/runtime.ts";
import { addLayer, type MadeImage, makeImage } from "../image-maker.ts";
import { device, directory, file, hardLink, opaque, symbolicLink, tar, whiteout } from "../tar-maker.ts";
import { type ContainerdRuntime, containerdRuntimes } from "./fleet.ts";
import type { InjectionImages } from "./injection.ts";

/** The oldest and the newest containerd. */
export async function outermostRuntimes(): Promise<readonly ContainerdRuntime[]> {
  const all = await containerdRuntimes();
  return all.filter((_, index) => index === 0 || index === all.length - 1);
}

/** Ejects with options that tests rarely vary. */
export async function eject(
  node: ContainerdNode,
  options: Partial<EjectOptions> = {},
  atStep?: (step: string) => void,
): Promise<EjectReport> {
  const defaults = { wait: false, materialize: false, signal: new AbortController().signal };
  return ejectDisks(node, { ...defaults, ...options }, atStep);
}

/** The layers of `app` and two more with everything that a layer can hold. */
export async function makeRichImage(images: InjectionImages): Promise<MadeImage> {
  const { layout, app } = images;
  const { platform } = app.manifest;
  assert.ok(platform !== undefined);
  const below = await addLayer(layout, {
    tar: tar(
      directory("rich", { mode: 0o1777, mtime: 1_500_000_000 }),
      file("rich/a", "first\n", { uid: 1000, gid: 1001, mode: 0o4755, mtime: 1_400_000_000 }),
      hardLink("rich/b", "rich/a"),
      file("rich/gone", "x"),
      symbolicLink("rich/link", "a", { uid: 7 }),
      device("rich/null", "3", 1, 3, { mode: 0o666 }),
      directory("rich/old"),
      file("rich/old/hidden", "x"),
      file("rich/capable", "x", { xattrs: { "security.capability": capability, "user.note": "kept" } }),
      file("rich/large", Buffer.alloc(3 << 20, 7)),
      file(Buffer.from("rich/\xff\xfe", "latin1"), "no UTF-8\n"),
    ),
  });
  const above = await addLayer(layout, {
    tar: tar(
      directory("rich"),
      whiteout("rich/gone"),
      directory("rich/old"),
      opaque("rich/old"),
      file("rich/old/new", "new\n"),
    ),
  });
  const layers = [...app.layers, below, above];
  return makeImage(layout, { layers, platform, run: { Cmd: ["/bin/cat", "/rich/a"], Env: ["PATH=/bin"] } });
}

/** `struct vfs_cap_data`, revision 2 (include/uapi/linux/capability.h): cap_net_raw, effective and permitted. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
