import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./processes.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** A read-only loop device over `file`; detached when the scope ends. */
export async function attachLoopDevice(scope: Scope, file: string): Promise<string> {
  const device = (await run("losetup", ["--find", "--show", "--read-only", file])).trim();
  scope.defer(async () => void (await run("losetup", ["--detach", device])));
  return device;
}

/** Mounts an EROFS image (a file, through a loop device of its own, or a block device); the mount point. */
export async function mountErofs(scope: Scope, image: string): Promise<string> {
  const isDevice = image.startsWith("/dev/");
  const device = isDevice ? image : await attachLoopDevice(scope, image);
  return mount(scope, ["-t", "erofs", "-o", "ro", device]);
}

/** Mounts an EROFS image without a block device (Linux 6.12 and later); the mount point. */
export async function mountErofsFile(scope: Scope, image: string): Promise<string> {
  return mount(scope, ["-i", "-t", "erofs", "-o", "ro", image]);
}

/** What overlayfs shows of read-only folders, given from bottom to top; the mount point. */
export async function mountOverlay(scope: Scope, layersFromBottom: readonly string[]): Promise<string> {
  const [bottom] = layersFromBottom;
  if (bottom === undefined) throw new Error("an overlay needs a layer");
  // Overlayfs refuses a single lower folder, and a bind mount would show its whiteouts: an empty folder lies below.
  const empty = join(await temporaryDirectory(scope, "empty"), "e");
  await mkdir(empty, { mode: 0o755 });
  const lower = [...layersFromBottom].reverse();
  if (lower.length === 1) lower.push(empty);
  return mount(scope, ["-t", "overlay", "-o", `ro,lowerdir=${lower.join(":")}`, "overlay"]);
}

async function mount(scope: Scope, args: readonly string[]): Promise<string> {
  const target = await temporaryDirectory(scope, "mnt");
  await run("mount", [...args, target]);
  scope.defer(async () => void (await run("umount", [target])));
  return target;
}
