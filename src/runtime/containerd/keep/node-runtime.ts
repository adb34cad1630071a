import type { NodeRuntime } from "../../open-runtime.ts";
import type { Runtime } from "../../runtime.ts";
import { containerdName } from "../containerd-node.ts";
import { ContainerdRuntime } from "../containerd-runtime.ts";
import { ContainerdImageKeeper } from "./containerd-image-keeper.ts";
import { connectNode, type NodeConnection } from "./node-connection.ts";

/** Throws `RuntimeError` and `HostError`. */
export async function openContainerdNodeRuntime(address: string, namespace: string): Promise<NodeRuntime> {
  const connection = await connectNode(address, namespace);
  try {
    const images = await ContainerdImageKeeper.open(connection);
    return {
      runtime: sharedRuntime(connection),
      images,
      async clearFetches() {
        const { clearFetches } = await import("../fetch/clear-fetches.ts");
        await connection.use(clearFetches);
      },
      close: () => images.close(),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

function sharedRuntime(connection: NodeConnection): Runtime {
  const use = <Result>(work: (runtime: ContainerdRuntime) => Promise<Result>) =>
    connection.use(async (node) => work(new ContainerdRuntime(node)));
  return {
    get name() {
      return containerdName(connection.last);
    },
    inject: (disk, options) => use((runtime) => runtime.inject(disk, options)),
    eject: (options) => use((runtime) => runtime.eject(options)),
    status: (options) => use((runtime) => runtime.status(options)),
    close: async () => {},
  };
}
