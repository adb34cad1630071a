import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { indexName } from "../../../disk/index-document.ts";
import { sameDevice } from "../../host/device-number.ts";
import { lockDisk } from "../../host/disk-lock.ts";
import { diskMountPoint } from "../../host/disk-mount-point.ts";
import { detachStaleMount } from "../../host/stale-mount.ts";
import type { OpenDisk } from "../../runtime.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "./job.ts";
import { refuseUnmappable } from "./user-namespaces.ts";

/** A disk on its mount point. Until this is disposed of, nobody else mounts or unmounts it. May be disposed of twice. */
export type MountedDisk = AsyncDisposable & {
  /** It stays mounted afterwards: a carrier shows it, so that an ejection finds it. */
  keep(): void;
};

/** Mounts a disk where the snapshots of all its namespaces lead. Throws `RuntimeError`, `HostError`, or the reason of the signal. */
export async function mountOnNode(
  node: ContainerdNode,
  { source }: Pick<OpenDisk, "source">,
  atStep: AtStep,
  signal: AbortSignal,
): Promise<MountedDisk> {
  const mountPoint = diskMountPoint(source.id);
  await using resources = new AsyncDisposableStack();
  resources.use(await lockDisk(node.local, source.id, signal));
  atStep("mount disk");
  // Only root passes: the trees of a disk hold setuid programs. Containers come through the carrier.
  await mkdir(node.local(mountPoint), { recursive: true, mode: 0o700 });
  await detachStaleMount(node.mounts, source.id, node.local);
  const { isNew } = await node.mounts.mountDisk(source, mountPoint);
  let isKept = !isNew;
  resources.defer(async () => {
    if (!isKept) await node.mounts.unmount(mountPoint).catch(() => {});
  });
  await requireMounted(node, mountPoint, source);
  await refuseUnmappable(node, mountPoint);
  const held = resources.move();
  return {
    keep() {
      isKept = true;
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** The id stands in the second line of the index. */
const indexHeadBytes = 256;

/**
 * What is mounted must be what was verified: a file that was written over while an older disk was mounted from it shows that one, as far as the
 * kernel remembers it. Throws `RuntimeError` `failed-precondition`.
 */
async function requireMounted(
  node: ContainerdNode,
  mountPoint: string,
  { id, path }: OpenDisk["source"],
): Promise<void> {
  const handle = await open(node.local(`${mountPoint}/${indexName}`), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const head = Buffer.alloc(indexHeadBytes);
    await handle.read(head, 0, indexHeadBytes, 0);
    if (head.includes(`"id": "${id}"`) && !(await showsAnother(node, mountPoint))) return;
  } finally {
    await handle.close();
  }
  throw new RuntimeError(
    "failed-precondition",
    `${path} was verified as disk ${id}, but another one is mounted from it: was the file changed in place? Put new disks there under another name, or by rename, and inject again`,
  );
}

/** Whether the device of a mounted disk is that of another disk too. */
async function showsAnother({ mounts }: ContainerdNode, mountPoint: string): Promise<boolean> {
  const table = await mounts.table();
  const device = table.at(mountPoint)?.device;
  const folder = `${dirname(mountPoint)}/`;
  return table.entries.some(
    (entry) =>
      entry.mountPoint !== mountPoint &&
      entry.mountPoint.startsWith(folder) &&
      device !== undefined &&
      sameDevice(entry.device, device),
  );
}
