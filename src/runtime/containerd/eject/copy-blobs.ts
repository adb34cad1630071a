import { copyFile, readdir, readlink, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { type Digest, digestHex } from "../../../oci/descriptor.ts";
import { notMounted } from "../../copy-room.ts";
import { syncFilesystem } from "../../host/sync-filesystem.ts";
import { errorCode } from "../../host/system-calls.ts";
import type { EjectOptions } from "../../runtime.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { AtStep } from "../inject/job.ts";
import { lockBlobs } from "../node-lock.ts";
import { type BlobLink, blobOnDisk, blobPath } from "./blob-links.ts";

type Folders = Pick<ContainerdNode, "blobsFolder" | "local">;

type Job = {
  readonly node: Folders;
  readonly options: Pick<EjectOptions, "signal">;
  readonly atStep: AtStep;
};

/**
 * Puts a file of its own in the place of each link that still leads to its disk: all namespaces share the files, and an ejection from another one
 * may have done so meanwhile. Throws `RuntimeError` `failed-precondition` when the disk is not mounted.
 */
export async function copyBlobs({ node, options, atStep }: Job, blobs: readonly BlobLink[]): Promise<void> {
  if (blobs.length === 0) return;
  await using _ = await lockBlobs(node, options.signal);
  for (const { digest, disk } of blobs) {
    atStep("copy-blob");
    const [from, to] = [blobOnDisk(disk, digest), blobPath(node, digest)];
    if ((await targetOf(to)) !== from) continue;
    const copy = blobCopyPath(node, digest);
    // Not through the link, which is absolute: containerd may have another root.
    await copyFile(node.local(from), copy).catch((cause: unknown) => {
      throw errorCode(cause) === "ENOENT" ? notMounted(`blob ${digest}`, disk, cause) : cause;
    });
    await syncFilesystem(copy);
    await rename(copy, to);
  }
  await syncFilesystem(node.local(node.blobsFolder));
}

/** Of a link; `undefined` where there is a file, or nothing. */
async function targetOf(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (["EINVAL", "ENOENT"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** Removes copies that were interrupted, whoever made them. */
export async function removeStrayBlobs(node: Folders, signal: AbortSignal): Promise<void> {
  if ((await strayBlobs(node)).length === 0) return;
  // They may be another's at work.
  await using _ = await lockBlobs(node, signal);
  for (const path of await strayBlobs(node)) await rm(path, { force: true });
}

async function strayBlobs(node: Folders): Promise<string[]> {
  const folder = node.local(dirname(node.blobsFolder));
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => /^nodewarm-[0-9a-f]{64}$/.test(name)).map((name) => `${folder}/${name}`);
}

/** Not beside the blobs, where containerd takes every name for a digest. */
function blobCopyPath(node: Folders, digest: Digest): string {
  return node.local(`${dirname(node.blobsFolder)}/nodewarm-${digestHex(digest)}`);
}
