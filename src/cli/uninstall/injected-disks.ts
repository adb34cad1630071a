import { findCarriers } from "../../runtime/containerd/boot/carriers.ts";
import { defaultSnapshotsFolders } from "../../runtime/containerd/boot/snapshots-folders.ts";

/** Folders of snapshots in the usual places that still lead to disks, though no runtime that was asked knows of them. */
export async function injectedWithoutRuntime(): Promise<readonly string[]> {
  const left: string[] = [];
  for (const folder of await defaultSnapshotsFolders()) {
    const { carriers } = await findCarriers(folder);
    if (carriers.length > 0) left.push(folder);
  }
  return left;
}
