import { isRuntimeError, RuntimeError } from "../../runtime-error.ts";
import { type ContainerdNode, openContainerdNode } from "../containerd-node.ts";
import { socketOwner } from "../socket-owner.ts";

/** A node, and how many work with it. */
type Opened = { readonly node: ContainerdNode; users: number; isOld: boolean };

/**
 * One namespace of a containerd for as long as a program runs: after the daemon was started again, perhaps as another version or in another
 * mount namespace, it is opened anew. Shared by all who work with it.
 */
export class NodeConnection {
  #opened: Opened;
  #isSuspect = false;
  #opening: Promise<void> | undefined;
  #isClosed = false;

  private constructor(node: ContainerdNode) {
    this.#opened = { node, users: 0, isOld: false };
  }

  /** Throws as `openContainerdNode`. Any snapshotter will do. */
  static async open(address: string, namespace: string): Promise<NodeConnection> {
    return new NodeConnection(await openContainerdNode(address, namespace, { anySnapshotter: true }));
  }

  /** As it was last seen. */
  get last(): ContainerdNode {
    return this.#opened.node;
  }

  /** The next who works with it looks first whether it is the same daemon. */
  suspect(): void {
    this.#isSuspect = true;
  }

  /** Throws what `work` throws, and as `openContainerdNode`. */
  async use<Result>(work: (node: ContainerdNode) => Promise<Result>): Promise<Result> {
    if (this.#isSuspect) {
      this.#opening ??= this.#renew().finally(() => {
        this.#opening = undefined;
      });
      await this.#opening;
    }
    if (this.#isClosed) throw new RuntimeError("cancelled", "The connection to containerd was closed by its owner");
    const opened = this.#opened;
    opened.users++;
    try {
      return await work(opened.node);
    } catch (error) {
      if (isRuntimeError(error, "unavailable")) this.suspect();
      throw error;
    } finally {
      opened.users--;
      await closeIfUnused(opened);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opened.node.close();
  }

  async #renew(): Promise<void> {
    const { node } = this.#opened;
    const { pid } = await node.client.introspection.server();
    if ((pid || (await socketOwner(node.client.address))) !== node.pid) {
      const old = this.#opened;
      const renewed = await openContainerdNode(node.client.address, node.namespace, { anySnapshotter: true });
      if (this.#isClosed) return renewed.close();
      this.#opened = { node: renewed, users: 0, isOld: false };
      old.isOld = true;
      await closeIfUnused(old);
    }
    this.#isSuspect = false;
  }
}

async function closeIfUnused({ node, users, isOld }: Opened): Promise<void> {
  if (isOld && users === 0) await node.close();
}
