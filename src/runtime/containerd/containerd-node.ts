import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type MountNamespace, openMountNamespace } from "../host/mount-namespace.ts";
import type { Mounts } from "../host/mounts.ts";
import { errorCode } from "../host/system-calls.ts";
import { SystemMounts } from "../host/system-mounts.ts";
import { RuntimeError } from "../runtime-error.ts";
import { type ContainerdClient, type NamespaceClient, openContainerd } from "./client/containerd-client.ts";
import { openCri } from "./client/cri/cri-client.ts";
import type { Plugin } from "./client/introspection.ts";
import type { SnapshotReader, SnapshotWriter } from "./client/snapshots.ts";
import { daemonPid } from "./daemon-pid.ts";
import { type OtherHandler, snapshotterOfCri, unfitSnapshotter } from "./snapshotter.ts";

/** The namespace of CRI. */
export const criNamespace = "k8s.io";
/** That of Docker's containerd store. */
export const dockerNamespace = "moby";

/** One namespace of a running containerd, and where its files are. Paths are those that containerd sees. */
export type ContainerdNode = {
  readonly client: ContainerdClient;
  readonly namespace: string;
  readonly in: NamespaceClient;
  readonly version: string;
  readonly pid: number;
  /** Plugin id of the default snapshotter. */
  readonly snapshotter: string;
  readonly otherHandlers: readonly OtherHandler[];
  readonly snapshots: SnapshotReader;
  readonly snapshotWriter: SnapshotWriter;
  /** Folder of the snapshotter's snapshots: `<number>/fs` each. */
  readonly snapshotsFolder: string;
  /** Folder of the content store's blobs: `sha256/<hex>` each. */
  readonly blobsFolder: string;
  /** `shared` or `isolated`; `undefined` where containerd does not say. */
  readonly sharingPolicy: string | undefined;
  readonly mountNamespace: MountNamespace;
  readonly mounts: Mounts;
  /** A path that containerd sees, as this program reaches it. */
  local(path: string): string;
  close(): Promise<void>;
};

export type NodeOptions = {
  /** Also takes snapshotters that do not tell their folder: nothing can be injected there. Default: false. */
  readonly anySnapshotter?: boolean;
};

/**
 * Opens a containerd for work in one of its namespaces. Throws `RuntimeError`: what the socket gives, `failed-precondition` when the
 * snapshotter does not run or the process cannot be found; `HostError` when its mount namespace cannot be entered.
 */
export async function openContainerdNode(
  address: string,
  namespace: string,
  { anySnapshotter = false }: NodeOptions = {},
): Promise<ContainerdNode> {
  const client = openContainerd(address);
  try {
    const asked = client.introspection.plugins();
    const [{ version }, plugins, pid, use] = await Promise.all([
      client.version.get(),
      asked,
      daemonPid(client),
      snapshotterIn(namespace, client.address, asked),
    ]);
    const find = (type: string, id: string) =>
      plugins.find((plugin) => plugin.type === `io.containerd.${type}` && plugin.id === id);
    const contentRoot = find("content.v1", "content")?.exports.root;
    const snapshotterRoot =
      find("snapshotter.v1", use.snapshotter)?.exports.root ??
      // Where containerd would have it: another program's snapshotter is on the same file system as a rule.
      (anySnapshotter && use.snapshotter !== "overlayfs" && contentRoot !== undefined
        ? join(dirname(contentRoot), `io.containerd.snapshotter.v1.${use.snapshotter}`)
        : undefined);
    // Only overlayfs tells its folder on all versions.
    if (snapshotterRoot === undefined && use.snapshotter !== "overlayfs") throw unfitSnapshotter(use.snapshotter);
    if (snapshotterRoot === undefined || contentRoot === undefined)
      throw new RuntimeError(
        "failed-precondition",
        `containerd at ${address} does not say where its ${snapshotterRoot === undefined ? `snapshotter "${use.snapshotter}"` : "content store"} keeps its files; only the built-in ones are supported`,
      );
    if (pid === undefined)
      throw new RuntimeError(
        "failed-precondition",
        `the process of containerd at ${address} is not to be seen; run in the PID namespace of the host`,
      );
    const mountNamespace = await openMountNamespace(pid);
    const inNamespace = client.withNamespace(namespace);
    // The mount table has paths without links; those of another namespace are taken as they are.
    const resolved = (path: string) => (mountNamespace.isOwn ? withoutLinks(path) : path);
    const [snapshotterFolder, contentFolder] = await Promise.all([resolved(snapshotterRoot), resolved(contentRoot)]);
    return {
      client,
      namespace,
      in: inNamespace,
      version,
      pid,
      snapshotter: use.snapshotter,
      otherHandlers: use.otherHandlers,
      snapshots: inNamespace.snapshots(use.snapshotter),
      snapshotWriter: inNamespace.snapshotWriter(use.snapshotter),
      snapshotsFolder: join(snapshotterFolder, "snapshots"),
      blobsFolder: join(contentFolder, "blobs"),
      sharingPolicy: find("metadata.v1", "bolt")?.exports.policy,
      mountNamespace,
      mounts: new SystemMounts(mountNamespace),
      local: (path) => mountNamespace.localPath(path),
      async close() {
        client.close();
        await mountNamespace.close();
      },
    };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** For messages. */
export function containerdName({ version, client, namespace }: ContainerdNode): string {
  return `containerd ${version} (${client.address}, ${namespace})`;
}

async function snapshotterIn(
  namespace: string,
  address: string,
  plugins: Promise<readonly Plugin[]>,
): Promise<{ snapshotter: string; otherHandlers: readonly OtherHandler[] }> {
  // Other clients than CRI take containerd's default, which is built in.
  if (namespace !== criNamespace) return { snapshotter: "overlayfs", otherHandlers: [] };
  using cri = openCri(address);
  return await snapshotterOfCri(cri, plugins);
}

/** A path through links resolved as far as it exists: containerd makes some of its folders when it first needs them. */
async function withoutLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" || path === dirname(path)) throw error;
    return join(await withoutLinks(dirname(path)), basename(path));
  }
}
