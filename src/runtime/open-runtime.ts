import type { FoundRuntime } from "./discovery.ts";
import type { Runtime } from "./runtime.ts";

/** Opens what discovery found; the caller closes it. Throws `RuntimeError` and `HostError`. */
export async function openRuntime(found: FoundRuntime): Promise<Runtime> {
  if (found.kind === "containerd") {
    const { ContainerdRuntime } = await import("./containerd/containerd-runtime.ts");
    return ContainerdRuntime.open(found.address, found.namespace);
  }
  const { openDockerGraph } = await import("./docker/docker-graph-runtime.ts");
  return openDockerGraph(found.address);
}
