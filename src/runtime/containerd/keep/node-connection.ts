import { ReopenedNode } from "../../reopened-node.ts";
import { type ContainerdNode, openContainerdNode } from "../containerd-node.ts";
import { socketOwner } from "../socket-owner.ts";

/** One namespace of a containerd, through restarts. */
export type NodeConnection = ReopenedNode<ContainerdNode>;

/** Throws as `openContainerdNode`. Any snapshotter will do. */
export async function connectNode(address: string, namespace: string): Promise<NodeConnection> {
  const open = () => openContainerdNode(address, namespace, { anySnapshotter: true });
  return new ReopenedNode(await open(), async ({ client, pid: before }) => {
    const { pid } = await client.introspection.server();
    return (pid || (await socketOwner(client.address))) === before ? undefined : open();
  });
}
