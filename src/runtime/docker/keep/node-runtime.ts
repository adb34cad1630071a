import type { NodeRuntime } from "../../open-runtime.ts";
import { ReopenedNode } from "../../reopened-node.ts";
import type { Runtime } from "../../runtime.ts";
import { DockerGraphRuntime } from "../docker-graph-runtime.ts";
import { dockerName, openDockerNode } from "../docker-node.ts";
import { DockerImageKeeper } from "./docker-image-keeper.ts";

const openTimeoutMs = 30_000;

/** Throws `RuntimeError` and `HostError`. */
export async function openDockerNodeRuntime(address: string): Promise<NodeRuntime> {
  const open = () => openDockerNode(address, AbortSignal.timeout(openTimeoutMs));
  const node = new ReopenedNode(await open(), open);
  const use = <Result>(work: (runtime: DockerGraphRuntime) => Promise<Result>) =>
    node.use((opened) => work(new DockerGraphRuntime(opened)));
  const runtime: Runtime = {
    get name() {
      return dockerName(node.last);
    },
    inject: (disk, options) => use((docker) => docker.inject(disk, options)),
    eject: (options) => use((docker) => docker.eject(options)),
    status: (options) => use((docker) => docker.status(options)),
    close: async () => {},
  };
  const images = new DockerImageKeeper(node);
  // Docker fetches itself.
  return { runtime, images, clearFetches: async () => {}, close: () => images.close() };
}
