import type { OldDisk } from "../../disk/build/old-disk/old-disk.ts";
import { CliError } from "../cli-error.ts";

/**
 * Opens the disks that `--from` names, each for one build. Begin before registries are asked: to read and check a disk, and to start the
 * threads that copy from it, takes as long as they take to answer. What goes wrong shows where a disk is waited for.
 */
export function openOldDisks(paths: readonly string[], signal: AbortSignal): readonly Promise<OldDisk>[] {
  return paths.map((path) => {
    const opening = openOldDisk(path, signal);
    opening.catch(() => {});
    return opening;
  });
}

/** Also those that are still opening, once they are open. */
export async function closeOldDisks(disks: readonly Promise<OldDisk>[]): Promise<void> {
  const settled = await Promise.allSettled(disks);
  await Promise.all(settled.map((disk) => (disk.status === "fulfilled" ? disk.value.close() : undefined)));
}

async function openOldDisk(path: string, signal: AbortSignal): Promise<OldDisk> {
  const { OldDisk } = await import("../../disk/build/old-disk/old-disk.ts");
  try {
    return await OldDisk.open(path, signal);
  } catch (error) {
    if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) throw error;
    const hint = error.code === "ENOENT" ? "; leave --from out where there is no older disk yet" : "";
    throw new CliError("unreadable-file", `cannot read the older disk: ${error.message}${hint}`, { cause: error });
  }
}
