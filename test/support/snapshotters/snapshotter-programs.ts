import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { goPrograms } from "../go-programs.ts";
import { needsProgram, needsRoot } from "../privileges.ts";

/** Snapshotters that are programs of their own beside containerd. */
export type SnapshotterName = "stargz" | "soci" | "overlaybd";

export const snapshotterNames: readonly SnapshotterName[] = ["stargz", "soci", "overlaybd"];

/** Path of the program, or why it cannot run here. */
export type SnapshotterProgram =
  | { readonly path: string; readonly reason: undefined }
  | { readonly path: undefined; readonly reason: string };

/** Built once from the Go module proxy: half a minute each at most after containerd, which has many of their packages too. */
export async function snapshotterProgram(name: SnapshotterName): Promise<SnapshotterProgram> {
  const reason = needsRoot || whatIsMissing(name);
  if (reason) return { path: undefined, reason };
  const path = await (name === "overlaybd" ? buildOverlaybd() : buildOurs(name));
  if (path !== undefined) return { path, reason: undefined };
  return { path, reason: `${name}: there is no Go to build it with, or the build failed` };
}

/** Those that read layers while containers run do so over FUSE; SOCI unpacks with zlib. */
function whatIsMissing(name: SnapshotterName): string | false {
  if (name === "overlaybd") return false;
  if (!existsSync("/dev/fuse")) return "needs /dev/fuse";
  if (name === "stargz") return false;
  return needsProgram("gcc") || (!existsSync("/usr/include/zlib.h") && "needs zlib1g-dev");
}

/** A program of ours around the packages of the snapshotter, which makes what it reads layers by, too. */
async function buildOurs(name: "stargz" | "soci"): Promise<string | undefined> {
  const source = join(import.meta.dirname, name);
  const hash = createHash("sha256");
  for (const part of ["go.mod", "go.sum", "main.go"]) hash.update(await readFile(join(source, part)));
  const folder = await goPrograms({
    what: `the ${name} snapshotter`,
    cacheName: `${name}-${hash.digest("hex").slice(0, 12)}`,
    programs: [name],
    cgo: name === "soci",
    build: (partial) => ({ words: ["build", "-o", join(partial, name), "."], cwd: source }),
  });
  return folder && join(folder, name);
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
