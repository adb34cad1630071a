import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { goPrograms } from "../go-programs.ts";
import { needsRoot } from "../privileges.ts";

/** Snapshotters that are programs of their own beside containerd. */
export type SnapshotterName = "stargz" | "overlaybd";

/** Path of the program, or why it cannot run here. */
export type SnapshotterProgram =
  | { readonly path: string; readonly reason: undefined }
  | { readonly path: undefined; readonly reason: string };

/** Built once from the Go module proxy: a quarter of a minute each after containerd, which has most of their packages too. */
export async function snapshotterProgram(name: SnapshotterName): Promise<SnapshotterProgram> {
  if (needsRoot) return { path: undefined, reason: needsRoot };
  if (name === "stargz" && !existsSync("/dev/fuse")) return { path: undefined, reason: "needs /dev/fuse" };
  const path = await (name === "stargz" ? buildStargz() : buildOverlaybd());
  if (path !== undefined) return { path, reason: undefined };
  return { path, reason: `${name}: there is no Go to build it with, or the build failed` };
}

/** Reads layers over FUSE while containers run. A program of ours around its packages, which makes such layers, too. */
async function buildStargz(): Promise<string | undefined> {
  const source = join(import.meta.dirname, "stargz");
  const hash = createHash("sha256");
  for (const name of ["go.mod", "go.sum", "main.go"]) hash.update(await readFile(join(source, name)));
  const folder = await goPrograms({
    what: "the stargz snapshotter",
    cacheName: `stargz-${hash.digest("hex").slice(0, 12)}`,
    programs: ["stargz"],
    build: (partial) => ({ words: ["build", "-o", join(partial, "stargz"), "."], cwd: source }),
  });
  return folder && join(folder, "stargz");
}

/** As its project has it. Layers in its own format need a kernel with `target_core_user`; others it mounts as overlayfs does. */
async function buildOverlaybd(): Promise<string | undefined> {
  const version = "1.4.5";
  const command = "github.com/containerd/accelerated-container-image/cmd/overlaybd-snapshotter";
  const folder = await goPrograms({
    what: `the overlaybd snapshotter ${version}`,
    cacheName: `overlaybd-${version}`,
    programs: ["overlaybd-snapshotter"],
    build: (partial) => ({ words: ["install", `${command}@v${version}`], cwd: partial }),
  });
  return folder && join(folder, "overlaybd-snapshotter");
}
