import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { lockFolder } from "../host/disk-lock.ts";
import { lockFile } from "../host/file-lock.ts";
import type { ContainerdNode } from "./containerd-node.ts";

/**
 * Waits until no other program changes what Nodewarm has in this namespace of this containerd. The lock goes with the process. Throws the
 * reason of `signal`, or what `open(2)` gives.
 */
export async function lockNode(
  node: Pick<ContainerdNode, "snapshotsFolder" | "namespace" | "local">,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  return lockNamed(node, node.namespace, signal);
}

/**
 * As `lockNode`, for the layer images that all namespaces of a containerd share; taken after that. Throws the reason of `signal`, or what
 * `open(2)` gives.
 */
export function lockLayerImages(
  node: Pick<ContainerdNode, "snapshotsFolder" | "local">,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  // No namespace can be called so.
  return lockNamed(node, "layer images", signal);
}

/** As `lockNode`, for files of blobs, which all namespaces of a containerd share, whatever their snapshotters; taken after that. */
export function lockBlobs(
  node: Pick<ContainerdNode, "blobsFolder" | "local">,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  return lockNamed({ snapshotsFolder: node.blobsFolder, local: node.local }, "blobs", signal);
}

async function lockNamed(
  node: Pick<ContainerdNode, "snapshotsFolder" | "local">,
  what: string,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const folder = node.local(lockFolder);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const name = createHash("sha256").update(`${node.snapshotsFolder}\n${what}`).digest("hex").slice(0, 16);
  return lockFile(`${folder}/${name}`, signal);
}
