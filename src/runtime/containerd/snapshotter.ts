import { basename } from "node:path";
import { isRuntimeError, RuntimeError } from "../runtime-error.ts";
import type { CriClient } from "./client/cri/cri-client.ts";
import type { Plugin } from "./client/introspection.ts";

/** A runtime handler whose containers are made with another snapshotter than the default one. */
export type OtherHandler = { readonly name: string; readonly snapshotter: string };

export type SnapshotterUse = {
  /** Plugin id of the default snapshotter, such as `overlayfs`. */
  readonly snapshotter: string;
  readonly otherHandlers: readonly OtherHandler[];
};

/** What CRI writes of its configuration into its verbose status (`internal/cri/config/config.go`), as far as it is used here. */
type CriConfig = {
  readonly containerd?: {
    readonly runtimes?: Readonly<Record<string, { readonly snapshotter?: string } | undefined>>;
  };
};

/**
 * Which snapshotter CRI makes containers with. No call of CRI names it on all versions, but each says where the images' file system is
 * (`ImageFsInfo`): that is the root folder of one of the plugins. Where CRI is switched off, containerd's own default holds.
 */
export async function snapshotterOfCri(cri: CriClient, plugins: Promise<readonly Plugin[]>): Promise<SnapshotterUse> {
  let folders: readonly string[];
  let config: CriConfig;
  try {
    const [status, fileSystems] = await Promise.all([cri.runtime.status({ verbose: true }), cri.images.fileSystems()]);
    config = JSON.parse(status.info.config ?? "{}");
    folders = fileSystems;
  } catch (error) {
    if (isRuntimeError(error, "unimplemented")) return { snapshotter: "overlayfs", otherHandlers: [] };
    throw error;
  }
  const prefix = "io.containerd.snapshotter.v1.";
  const [folder = ""] = folders;
  const name = basename(folder);
  const snapshotter =
    (await plugins).find(({ type, exports }) => type === "io.containerd.snapshotter.v1" && exports.root === folder)
      ?.id ?? (name.startsWith(prefix) ? name.slice(prefix.length) : undefined);
  if (snapshotter === undefined)
    throw new RuntimeError(
      "failed-precondition",
      `containerd keeps the images of CRI in ${folder || "a place that it does not name"}, which belongs to no snapshotter that is known; use overlayfs`,
    );
  const otherHandlers = Object.entries(config.containerd?.runtimes ?? {}).flatMap(([handler, settings]) => {
    const other = settings?.snapshotter || snapshotter;
    return other === snapshotter ? [] : [{ name: handler, snapshotter: other }];
  });
  return { snapshotter, otherHandlers };
}

export function unfitSnapshotter(name: string): RuntimeError {
  return new RuntimeError(
    "failed-precondition",
    `containerd makes containers with the snapshotter "${name}", but disks are injected into overlayfs; set snapshotter = "overlayfs" in its configuration (nodewarm doctor tells more)`,
  );
}
