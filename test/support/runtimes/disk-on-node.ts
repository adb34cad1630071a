import { rmdir } from "node:fs/promises";
import { type ContainerdNode, openContainerdNode } from "../../../src/runtime/containerd/containerd-node.ts";
import { injectDisk } from "../../../src/runtime/containerd/inject/inject-disk.ts";
import { diskMountPoint } from "../../../src/runtime/containerd/ownership.ts";
import { openDiskSource, readDiskSource } from "../../../src/runtime/host/disk-source.ts";
import { SystemMounts } from "../../../src/runtime/host/system-mounts.ts";
import type { InjectOptions, InjectReport } from "../../../src/runtime/runtime.ts";
import { buildTestDisk } from "../disk-maker.ts";
import type { MadeImage } from "../image-maker.ts";
import { imageOfLayout } from "../layout-image.ts";
import { type Scope, temporaryDirectory } from "../temporary.ts";
import type { ContainerdDaemon } from "./containerd-daemon.ts";

export type NamedImage = { readonly name: string; readonly image: MadeImage };

/** A disk of named images, with their layer blobs; its path. Its mount point is gone with the scope, whatever a test does. */
export async function makeDisk(
  scope: Scope,
  layout: string,
  images: readonly NamedImage[],
  sequence = 1,
): Promise<string> {
  const resolved = images.map(({ name, image }) => imageOfLayout(layout, image.manifest, [name]));
  const directory = await temporaryDirectory(scope, "disk");
  const { path } = await buildTestDisk(directory, layout, [], {
    images: await Promise.all(resolved),
    blobs: true,
    sequence,
  });
  const { id } = await readDiskSource(path);
  scope.defer(async () => {
    await new SystemMounts().unmount(diskMountPoint(id), { detach: true });
    await rmdir(diskMountPoint(id)).catch(() => {});
  });
  return path;
}

/** A namespace of a test's containerd until the scope ends. */
export async function openNode(scope: Scope, daemon: ContainerdDaemon, namespace = "k8s.io"): Promise<ContainerdNode> {
  const node = await openContainerdNode(daemon.address, namespace);
  scope.defer(() => node.close());
  return node;
}

/** Injects the disk in a file. */
export async function injectFile(
  node: ContainerdNode,
  path: string,
  options: Partial<InjectOptions> = {},
): Promise<InjectReport> {
  const { disk, source } = await openDiskSource(path);
  try {
    const defaults = { handlers: "all", force: false, chains: true, signal: new AbortController().signal } as const;
    return await injectDisk(node, { disk, source }, { ...defaults, ...options });
  } finally {
    await disk.close();
  }
}
