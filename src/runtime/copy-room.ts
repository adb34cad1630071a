import { statfs } from "node:fs/promises";
import { measureTree } from "./host/copy-tree.ts";
import { errorCode } from "./host/system-calls.ts";
import { RuntimeError } from "./runtime-error.ts";

/** A tree or file of a mounted disk that is to be copied to the node; `what` is how a message calls it. */
export type DiskCopy = { readonly what: string; readonly disk: string; readonly from: string };

/** Where copies go: as the runtime calls the folder, and as this program reaches it. */
export type CopyTarget = { readonly folder: string; readonly local: string };

/**
 * Throws `RuntimeError` unless all of this can be copied: `failed-precondition` when a disk is not mounted, `resource-exhausted` when there
 * is no room. Changes nothing.
 */
export async function requireRoom(
  copies: readonly DiskCopy[],
  { folder, local }: CopyTarget,
  signal: AbortSignal,
): Promise<void> {
  if (copies.length === 0) return;
  let bytes = 0;
  let inodes = 0;
  for (const { what, disk, from } of copies) {
    const size = await measureTree(from, signal).catch((cause: unknown) => {
      throw errorCode(cause) === "ENOENT" ? notMounted(what, disk, cause) : cause;
    });
    bytes += size.bytes;
    inodes += size.inodes;
  }
  const { bavail, bsize, ffree, files } = await statfs(local);
  // Some file systems make inodes as they need them, and tell none.
  const lacksInodes = files > 0 && ffree < inodes;
  if (bavail * bsize >= bytes && !lacksInodes) return;
  throw new RuntimeError(
    "resource-exhausted",
    lacksInodes
      ? `${inodes} files would be copied to ${folder}, whose file system has room for ${ffree} more; end the containers instead, or remove other images`
      : `${mebibytes(bytes)} MiB would be copied to ${folder}, which has ${mebibytes(bavail * bsize)} MiB left; end the containers instead, or free some space`,
  );
}

/** That something cannot be copied from a disk that is away. */
export function notMounted(what: string, disk: string, cause: unknown): RuntimeError {
  return new RuntimeError(
    "failed-precondition",
    `${what} cannot be copied, as disk ${disk} is not mounted; mount it first (nodewarm mount --all)`,
    { cause },
  );
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
