import { ReopenedNode } from "../../reopened-node.ts";
import { type ContainerdNode, openContainerdNode } from "../containerd-node.ts";
import { daemonPid } from "../daemon-pid.ts";

/** One namespace of a containerd, through restarts. */
export type NodeConnection = ReopenedNode<ContainerdNode>;

/** Throws as `openContainerdNode`. Any snapshotter will do. */
export async function connectNode(address: string, namespace: string): Promise<NodeConnection> {
  const open = () => openContainerdNode(address, namespace, { anySnapshotter: true });
  return new ReopenedNode(await open(), async ({ client, pid }) =>
    (await daemonPid(client)) === pid ? undefined : open(),
  );
}
