import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Digest } from "../../../oci/descriptor.ts";
import { digestHex } from "../../../oci/descriptor.ts";
import { lockRemovableFile } from "../../host/file-lock.ts";
import type { ContainerdNode } from "../containerd-node.ts";

/** Name of the folder in containerd's root in which layers are kept until they are whole. */
export const spoolName = "nodewarm-spool";

/** The content store's own folder, as its plugin is called. */
const contentFolderName = "io.containerd.content.v1.content";

/** Files of one blob in the spool; whoever writes them holds the lock of `ranges`. */
export type SpoolPaths = {
  /** Its bytes, as far as they have come. */
  readonly data: string;
  /** Which of them have come; the lock. */
  readonly ranges: string;
};

/** What a fetch that ended early may leave, so that the next one goes on: for so long, and so much of it in all. */
export const keptForMs = 24 * 3600_000;
export const mostKeptBytes = 16 * 2 ** 30;

/**
 * Path of the spool, as this program reaches it; made where it is missing. It lies in containerd's root, or beside the blobs where those are on
 * another file system: a link from one to the other must be possible.
 */
export async function openSpool(node: Pick<ContainerdNode, "blobsFolder" | "local">): Promise<string> {
  const content = dirname(node.blobsFolder);
  await mkdir(node.local(`${node.blobsFolder}/sha256`), { recursive: true });
  const root = dirname(content);
  const [blobs, beside] = await Promise.all([stat(node.local(node.blobsFolder)), stat(node.local(root))]);
  const isInRoot = basename(content) === contentFolderName && blobs.dev === beside.dev;
  const folder = node.local(join(isInRoot ? root : content, spoolName));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

export function spoolPaths(spool: string, digest: Digest): SpoolPaths {
  const data = `${spool}/${digestHex(digest)}`;
  return { data, ranges: `${data}.ranges` };
}

/** File whose lock is held by whoever unpacks the layer that completes a chain. */
export function unpackLockPath(spool: string, chainID: Digest): string {
  return `${spool}/${digestHex(chainID)}.unpack`;
}

/**
 * Removes what fetches that are over left and nobody is to go on with: what has lost its other half, is older than `keptForMs`, or, oldest
 * first, what is more than `mostKeptBytes`. What somebody works on stays.
 */
export async function sweepSpool(spool: string, now = Date.now()): Promise<void> {
  const names = await readdir(spool);
  for (const name of names.filter((each) => each.endsWith(".unpack"))) {
    const lock = await lockRemovableFile(`${spool}/${name}`);
    await lock?.remove();
  }
  const blobs = new Set(names.flatMap((name) => /^([0-9a-f]{64})(?:\.ranges)?$/.exec(name)?.[1] ?? []));
  const left: { readonly paths: SpoolPaths; readonly time: number; readonly bytes: number }[] = [];
  for (const hex of blobs) {
    const paths = spoolPaths(spool, `sha256:${hex}`);
    const [data, ranges] = await Promise.all([sizeAndTime(paths.data), sizeAndTime(paths.ranges)]);
    const isResumable = data !== undefined && ranges !== undefined && ranges.size > 0;
    left.push({ paths, time: isResumable ? ranges.mtimeMs : 0, bytes: (data?.blocks ?? 0) * 512 });
  }
  let keptBytes = 0;
  for (const { paths, time, bytes } of left.sort((a, b) => b.time - a.time)) {
    keptBytes += bytes;
    if (now - time <= keptForMs && keptBytes <= mostKeptBytes) continue;
    keptBytes -= bytes;
    await removeFromSpool(paths);
  }
}

/** Unless somebody works on it. */
export async function removeFromSpool({ data, ranges }: SpoolPaths): Promise<void> {
  const lock = await lockRemovableFile(ranges);
  if (lock === undefined) return;
  await rm(data, { force: true });
  await lock.remove();
}

async function sizeAndTime(path: string): Promise<{ size: number; blocks: number; mtimeMs: number } | undefined> {
  return stat(path).catch(() => undefined);
}
