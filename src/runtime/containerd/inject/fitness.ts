import type { IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition, OpenDisk } from "../../runtime.ts";
import { RuntimeError } from "../../runtime-error.ts";
import { type ContainerdNode, dockerNamespace } from "../containerd-node.ts";
import { usesLayerImages } from "../layer-cache.ts";
import { unfitSnapshotter } from "../snapshotter.ts";
import { refuseWithoutLayerImages } from "./erofs-layers.ts";

/** Throws `RuntimeError` `failed-precondition` when this disk can never be injected into this node. */
export function refuseUnfit(node: ContainerdNode, open: OpenDisk): void {
  if (usesLayerImages(node)) refuseWithoutLayerImages(open);
  else if (node.snapshotter !== "overlayfs") throw unfitSnapshotter(node.snapshotter);
  const { disk } = open;
  const architecture = goArchitecture(process.arch);
  const { os, architecture: wanted } = disk.index.platform;
  if (os !== "linux" || wanted !== architecture)
    throw new RuntimeError(
      "failed-precondition",
      `${disk.source.name} holds images for ${os}/${wanted}, this node is linux/${architecture}; use the disk of this platform`,
    );
}

/** As the OCI image spec has it: the names of Go. */
function goArchitecture(architecture: string): string {
  const names: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", ppc64: "ppc64le", loong64: "loong64" };
  return names[architecture] ?? architecture;
}

/** Docker's users push and save; CRI never does. */
export function blobConditions({ namespace }: ContainerdNode, { disk }: OpenDisk): Condition[] {
  if (namespace !== dockerNamespace || disk.index.blobs) return [];
  return [
    {
      type: "NoLayerBlobs",
      message: `${disk.source.name} holds no layer blobs: docker push, save and export of its images are not possible; build it with --blobs for that`,
    },
  ];
}

/** Those of the names given, or all. Throws `RuntimeError` `not-found` for a name that the disk lacks. */
export function wantedImages({ disk }: OpenDisk, names: readonly string[] | undefined): readonly IndexImage[] {
  if (names === undefined) return disk.index.images;
  const missing = names.filter((name) => !disk.index.images.some((image) => image.names.includes(name)));
  if (missing.length > 0)
    throw new RuntimeError(
      "not-found",
      `${disk.source.name} has no image ${missing.join(", ")}; nodewarm inspect lists those that it has`,
    );
  return disk.index.images.filter((image) => image.names.some((name) => names.includes(name)));
}
