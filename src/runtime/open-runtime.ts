import type { FoundRuntime } from "./discovery.ts";
import type { ImageKeeper } from "./image-keeper.ts";
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

/** The disks and the images of one runtime, on one connection. It goes on through restarts of the daemon. */
export type NodeRuntime = {
  readonly runtime: Runtime;
  readonly images: ImageKeeper;
  /** Removes what all fetches that are over left, folders too: nobody fetches here any more. Throws `RuntimeError`, and `ENOTEMPTY` while somebody does. */
  clearFetches(): Promise<void>;
  /** Closes both, as `images.close` does; `runtime.close` does nothing. */
  close(): Promise<void>;
};

/** As `openRuntime`, for programs that stay. Also takes a containerd that nothing can be injected into: then `runtime` refuses. */
export async function openNodeRuntime(found: FoundRuntime): Promise<NodeRuntime> {
  if (found.kind === "containerd") {
    const { openContainerdNodeRuntime } = await import("./containerd/keep/node-runtime.ts");
    return openContainerdNodeRuntime(found.address, found.namespace);
  }
  const { openDockerNodeRuntime } = await import("./docker/keep/node-runtime.ts");
  return openDockerNodeRuntime(found.address);
}

/** The images of what discovery found; the caller closes it. Throws `RuntimeError` and `HostError`. */
export async function openImageKeeper(found: FoundRuntime): Promise<ImageKeeper> {
  return (await openNodeRuntime(found)).images;
}
