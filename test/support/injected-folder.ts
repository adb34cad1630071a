import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rmdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type MountAllOptions, mountAll } from "../../src/runtime/containerd/mount-all.ts";
import { carrierFileName } from "../../src/runtime/containerd/ownership.ts";
import { diskMountPoint } from "../../src/runtime/host/disk-mount-point.ts";
import { startDiskWait } from "../../src/runtime/host/disk-search.ts";
import { type DiskSource, readDiskSource } from "../../src/runtime/host/disk-source.ts";
import { SystemMounts } from "../../src/runtime/host/system-mounts.ts";
import { makeSmallDisk } from "./small-disk.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** What injection leaves in the folder of a snapshotter, made by hand, and nothing else: there is no containerd. */

export const mounts = new SystemMounts();
const treeName = `images/${"0".repeat(64)}`;

/** A disk of its own contents, so that tests at the same time have different ids. */
export async function makeDisk(scope: Scope): Promise<DiskSource> {
  const { path } = await makeSmallDisk(scope, `${randomUUID()}\n`);
  const source = await readDiskSource(path);
  scope.defer(async () => {
    const mountPoint = diskMountPoint(source.id);
    await mounts.unmount(mountPoint, { detach: true });
    await rmdir(mountPoint).catch(() => {});
  });
  return source;
}

export async function snapshotsFolder(scope: Scope): Promise<string> {
  const folder = await temporaryDirectory(scope, "snapshots");
  scope.defer(async () => {
    const table = await mounts.table();
    for (const { mountPoint } of table.below(folder).reverse()) await mounts.unmount(mountPoint, { detach: true });
  });
  return folder;
}

/** A carrier and one snapshot that leads through it; the carrier's `fs`. */
export async function inject(
  folder: string,
  number: number,
  { id, line, sequence, path }: DiskSource,
  changes: Record<string, unknown> = {},
): Promise<string> {
  const fs = join(folder, String(number), "fs");
  await mkdir(fs, { recursive: true });
  const file = { formatVersion: "1", id, line, sequence, source: path, ...changes };
  await writeFile(join(fs, carrierFileName), JSON.stringify(file));
  await mkdir(join(folder, String(number + 1)));
  await symlink(`../${number}/fs/${treeName}`, join(folder, String(number + 1), "fs"));
  return fs;
}

/** One disk that was injected, by a carrier with these changes. */
export async function injectedDisk(
  scope: Scope,
  changes?: Record<string, unknown>,
): Promise<{ disk: DiskSource; folder: string; fs: string }> {
  const disk = await makeDisk(scope);
  const folder = await snapshotsFolder(scope);
  return { disk, folder, fs: await inject(folder, 1, disk, changes) };
}

export async function unmountAll(disk: DiskSource, ...carriers: readonly string[]): Promise<void> {
  for (const fs of carriers) assert.equal(await mounts.unmount(fs), true);
  assert.equal(await mounts.unmount(diskMountPoint(disk.id)), true);
}

export const holdsDisk = async (fs: string, { id }: DiskSource) =>
  JSON.parse(await readFile(join(fs, "nodewarm.json"), "utf8")).id === id;

export const quick = (folder: string, options: MountAllOptions = {}): Promise<Awaited<ReturnType<typeof mountAll>>> =>
  mountAll({ snapshotsFolders: [folder], wait: startDiskWait(0), ...options });
