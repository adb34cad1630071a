import { join } from "node:path";
import { pauseImageName } from "./runtime-images.ts";

export type Snapshotter = "overlayfs" | "native" | "erofs" | ProxySnapshotter["name"];

/** A snapshotter that containerd reaches by its socket. */
export type ProxySnapshotter = {
  readonly name: "stargz" | "soci" | "overlaybd";
  readonly address: string;
  /** Folder with what it keeps. */
  readonly root: string;
};

export type ContainerdSettings = {
  /** Snapshotter of CRI and of the transfer service. Default: overlayfs. `erofs` from 2.1 on. */
  readonly snapshotter?: "overlayfs" | "native" | "erofs";
  /** A snapshotter of another program in its place. */
  readonly proxy?: ProxySnapshotter;
  /** Folders in which the EROFS snapshotter of 2.4 looks for layers. */
  readonly layerContentCaches?: readonly string[];
  /** CRI: drop layer blobs once they are unpacked. Default: false. */
  readonly discardUnpackedLayers?: boolean;
  /** Default: containerd's own, `shared`. */
  readonly contentSharingPolicy?: "shared" | "isolated";
  /** CRI's folder of `hosts.toml` files. Default: an empty one. */
  readonly registryHosts?: string;
  /** Further tables (TOML). */
  readonly more?: string;
};

/** That of CRI, of imports and of containers unless they say otherwise. */
export function defaultSnapshotter({ snapshotter = "overlayfs", proxy }: ContainerdSettings): Snapshotter {
  return proxy?.name ?? snapshotter;
}

/**
 * containerd's configuration for a test: everything below `directory`, CRI with our pause image and a network of its own,
 * no plugin that listens or writes elsewhere. 1.x reads version 2 of the format, 2.x version 3.
 */
export function containerdConfiguration(version: string, directory: string, settings: ContainerdSettings): string {
  const isFirst = version.startsWith("1.");
  const quoted = (path: string) => JSON.stringify(join(directory, path));
  return `version = ${isFirst ? 2 : 3}
root = ${quoted("root")}
state = ${quoted("state")}
temp = ${quoted("tmp")}
imports = []
disabled_plugins = [${["internal.v1.opt", "internal.v1.tracing"].map((name) => `"io.containerd.${name}"`)}]
[grpc]
address = ${quoted("s")}
[ttrpc]
address = ${quoted("s.ttrpc")}
[debug]
level = "info"
[plugins."io.containerd.nri.v1.nri"]
disable = true
${isFirst ? criOfVersion1(settings, quoted) : criOfVersion2(settings, quoted)}
${isFirst ? "" : snapshotterTables(settings)}
${settings.proxy ? proxyTable(settings.proxy) : ""}
${settings.contentSharingPolicy ? metadataTable(settings.contentSharingPolicy) : ""}
${settings.more ?? ""}
`;
}

type Quoted = (path: string) => string;

function criOfVersion1(settings: ContainerdSettings, quoted: Quoted): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `[${cri}]
sandbox_image = "${pauseImageName}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[${cri}.containerd]
default_runtime_name = "runc"
snapshotter = "${defaultSnapshotter(settings)}"
${settings.proxy ? "disable_snapshot_annotations = false" : ""}
discard_unpacked_layers = ${settings.discardUnpackedLayers ?? false}
${runcTable(`${cri}.containerd`, quoted)}
[${cri}.cni]
bin_dir = ${quoted("cni/bin")}
conf_dir = ${quoted("cni/conf")}
[${cri}.registry]
config_path = ${settings.registryHosts ? JSON.stringify(settings.registryHosts) : quoted("hosts")}`;
}

function criOfVersion2(settings: ContainerdSettings, quoted: Quoted): string {
  const runtime = 'plugins."io.containerd.cri.v1.runtime"';
  const images = 'plugins."io.containerd.cri.v1.images"';
  return `[plugins."io.containerd.grpc.v1.cri"]
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[${runtime}]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[${runtime}.containerd]
default_runtime_name = "runc"
${runcTable(`${runtime}.containerd`, quoted)}
[${runtime}.cni]
bin_dirs = [${quoted("cni/bin")}]
conf_dir = ${quoted("cni/conf")}
[${images}]
snapshotter = "${defaultSnapshotter(settings)}"
${settings.proxy ? "disable_snapshot_annotations = false" : ""}
discard_unpacked_layers = ${settings.discardUnpackedLayers ?? false}
[${images}.pinned_images]
sandbox = "${pauseImageName}"
[${images}.registry]
config_path = ${settings.registryHosts ? JSON.stringify(settings.registryHosts) : quoted("hosts")}`;
}

/** runc keeps its state below the folder too: two daemons may use the same container id. */
function runcTable(parent: string, quoted: Quoted): string {
  const table = `${parent}.runtimes.runc`;
  return `[${table}]
runtime_type = "io.containerd.runc.v2"
[${table}.options]
Root = ${quoted("runc")}`;
}

/** 2.x imports and pulls through the transfer service, which unpacks only with the snapshotters that it was told of. */
function snapshotterTables(settings: ContainerdSettings): string {
  const snapshotter = defaultSnapshotter(settings);
  const { layerContentCaches = [] } = settings;
  if (snapshotter === "overlayfs") return "";
  const platform = `linux/${process.arch === "arm64" ? "arm64" : "amd64"}`;
  const isErofs = snapshotter === "erofs";
  const unpacked = ["overlayfs", snapshotter].map((name) => {
    return `[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "${platform}"
snapshotter = "${name}"
differ = "${name === "erofs" ? "erofs" : "walking"}"
`;
  });
  const erofs = `[plugins."io.containerd.snapshotter.v1.erofs"]
${layerContentCaches.length === 0 ? "" : `layer_content_caches = ${JSON.stringify(layerContentCaches)}`}
[plugins."io.containerd.service.v1.diff-service"]
default = ["erofs", "walking"]
`;
  return `${unpacked.join("")}${isErofs ? erofs : ""}`;
}

/** CRI tells these where the image and its layers come from: `disable_snapshot_annotations = false`. */
function proxyTable({ name, address, root }: ProxySnapshotter): string {
  return `[proxy_plugins.${name}]
type = "snapshot"
address = ${JSON.stringify(address)}
[proxy_plugins.${name}.exports]
root = ${JSON.stringify(root)}`;
}

function metadataTable(policy: string): string {
  return `[plugins."io.containerd.metadata.v1.bolt"]
content_sharing_policy = "${policy}"`;
}
