import type { Platform } from "../../oci/descriptor.ts";
import { normalizePlatform } from "../../oci/platform.ts";
import { type MountNamespace, openMountNamespace } from "../host/mount-namespace.ts";
import type { Mounts } from "../host/mounts.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import { RuntimeError } from "../runtime-error.ts";
import { findDaemonProcess } from "./daemon-process.ts";
import { EngineClient, type EngineInfo } from "./engine-client.ts";
import { GraphStore } from "./graph-store.ts";

/** A running Docker daemon with the overlay2 driver, and where its files are. */
export type DockerNode = {
  readonly engine: EngineClient;
  readonly version: string;
  readonly platform: Platform;
  /** As the daemon sees it. */
  readonly dataRoot: string;
  readonly store: GraphStore;
  readonly mountNamespace: MountNamespace;
  readonly mounts: Mounts;
  /** A path that the daemon sees, as this program reaches it. */
  local(path: string): string;
  close(): Promise<void>;
};

/**
 * Opens a daemon. Throws `RuntimeError`: what the socket gives, `unimplemented` for another image store than the overlay2 driver,
 * `failed-precondition` when its process cannot be found; `HostError` when its mount namespace cannot be entered.
 */
export async function openDockerNode(address: string, signal: AbortSignal): Promise<DockerNode> {
  const engine = new EngineClient(address);
  const info = await engine.info(signal);
  refuseUnfit(engine.address, info);
  const pid = await findDaemonProcess(info.DockerRootDir, engine.address);
  if (pid === undefined)
    throw new RuntimeError(
      "failed-precondition",
      `the process of the Docker daemon at ${engine.address} is not to be seen: no process has a file below ${info.DockerRootDir} open; run as root, in the PID namespace of the host`,
    );
  const mountNamespace = await openMountNamespace(pid);
  return {
    engine,
    version: info.ServerVersion,
    platform: normalizePlatform({ os: info.OSType, architecture: info.Architecture }),
    dataRoot: info.DockerRootDir,
    store: new GraphStore(mountNamespace.localPath(info.DockerRootDir)),
    mountNamespace,
    mounts: new SystemMounts(mountNamespace),
    local: (path) => mountNamespace.localPath(path),
    close: () => mountNamespace.close(),
  };
}

/** For messages. */
export function dockerName({ version, engine }: DockerNode): string {
  return `Docker ${version} (${engine.address}, overlay2)`;
}

function refuseUnfit(address: string, { Driver, DriverStatus, SecurityOptions, ServerVersion }: EngineInfo): void {
  const refusal = (why: string) =>
    new RuntimeError("unimplemented", `Docker ${ServerVersion} at ${address} cannot be injected this way: ${why}`);
  if (DriverStatus?.some(isContainerdStore)) {
    throw refusal(
      "it keeps its images in containerd; use --runtime containerd --namespace moby with the socket of that containerd",
    );
  }
  if (Driver !== "overlay2") {
    throw refusal(
      `its storage driver is ${Driver}; set "storage-driver": "overlay2" in /etc/docker/daemon.json, or use Docker's containerd store`,
    );
  }
  for (const option of SecurityOptions ?? []) {
    const name = option.split(",")[0];
    if (name === "name=userns" || name === "name=rootless") {
      const what = name === "name=userns" ? "userns-remap" : "rootless mode";
      throw refusal(`in ${what} the files of a disk would belong to nobody; use a daemon without it`);
    }
  }
}

/** `DriverStatus` is a list of pairs. */
function isContainerdStore(pair: unknown): boolean {
  return Array.isArray(pair) && pair[0] === "driver-type" && String(pair[1]).startsWith("io.containerd.snapshotter");
}
