import type { DiskIndex, IndexImage } from "../../../disk/reader/disk-index.ts";
import type { Condition, InjectOptions } from "../../runtime.ts";
import { type ContainerdNode, criNamespace } from "../containerd-node.ts";

/**
 * Images that the sandboxes of pods are made from: after a reboot they must start before any disk is there. CRI marks their containers
 * (`internal/cri/labels/labels.go`).
 */
export async function sandboxImages(node: ContainerdNode): Promise<ReadonlySet<string>> {
  if (node.namespace !== criNamespace) return new Set();
  const containers = await node.in.containers.list([`labels."io.cri-containerd.kind"==sandbox`]);
  return new Set(containers.map(({ image }) => image));
}

/** Why an image of the disk is not injected; `undefined` when it is. */
export function whySkipped(
  node: Pick<ContainerdNode, "namespace" | "otherHandlers" | "sharingPolicy">,
  disk: DiskIndex,
  image: IndexImage,
  { handlers }: Pick<InjectOptions, "handlers">,
  sandboxes: ReadonlySet<string>,
): Condition | undefined {
  const [name = image.target.digest] = image.names;
  if (node.namespace === criNamespace && (image.names.some((each) => sandboxes.has(each)) || isPause(image)))
    return {
      type: "SandboxImage",
      message: `${name} is the image of pod sandboxes, which must start without the disk; let the node pull it`,
    };
  const [other] = node.otherHandlers;
  if (other !== undefined && handlers === "all" && (!disk.blobs || node.sharingPolicy === "isolated"))
    return {
      type: "HandlerNeedsBlobs",
      message: `${name} could not be started by runtime handler "${other.name}", whose snapshotter ${other.snapshotter} needs the layer blobs; build the disk with --blobs (and let containerd share its content between namespaces), or inject for the default handler alone with --handlers default-only`,
    };
  return undefined;
}

/** As the distributions of Kubernetes name it: registry.k8s.io/pause, rancher/mirrored-pause. */
function isPause(image: IndexImage): boolean {
  return image.names.some((name) => /(?:^|[/-])pause[:@]/.test(name));
}
