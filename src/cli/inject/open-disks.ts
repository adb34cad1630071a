import { openDiskSource } from "../../runtime/host/disk-source.ts";
import type { OpenDisk } from "../../runtime/runtime.ts";
import { UsageError } from "../usage-error.ts";

/** Disks that are open until they are disposed of. */
export type OpenDisks = AsyncDisposable & { readonly disks: readonly OpenDisk[] };

/**
 * Opens disks, older ones of a line first, so that the newest is injected last and gets what they share. Throws `UsageError` when two paths hold
 * the same disk, and as `openDiskSource`.
 */
export async function openDisks(paths: readonly string[]): Promise<OpenDisks> {
  await using opened = new AsyncDisposableStack();
  const disks: OpenDisk[] = [];
  for (const path of paths) {
    const open = await openDiskSource(path);
    opened.defer(() => open.disk.close());
    const twin = disks.find(({ source }) => source.id === open.source.id);
    if (twin !== undefined)
      throw new UsageError(`${twin.source.path} and ${path} hold the same disk; give one of them`);
    disks.push(open);
  }
  disks.sort((a, b) => a.source.sequence - b.source.sequence);
  const kept = opened.move();
  return { disks, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
