import type { Configuration } from "../containerd/configuration.ts";
import type { ContainerdNode } from "../containerd/containerd-node.ts";
import { layerCacheFolder } from "../containerd/layer-cache.ts";
import { isFrom, parseVersion } from "../containerd/version-number.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

const erofsTable = "io.containerd.snapshotter.v1.erofs";

/** The snapshotter that containers are made with unless a runtime handler says otherwise. */
export function checkSnapshotter(
  { snapshotter, version, snapshotsFolder }: Pick<ContainerdNode, "snapshotter" | "version" | "snapshotsFolder">,
  configuration: Configuration,
): Finding {
  const name = "snapshotter";
  if (snapshotter === "overlayfs") return ok(name, "overlayfs");
  if (snapshotter !== "erofs")
    return failure(
      name,
      `containers are made with the snapshotter "${snapshotter}", which injected snapshots are not for`,
      'set snapshotter = "overlayfs" in the configuration of containerd, and restart it; images of the other snapshotter must be pulled again',
    );
  const parsed = parseVersion(version);
  if (parsed !== undefined && !isFrom(parsed, [2, 4, 0]))
    return failure(
      name,
      `the EROFS snapshotter of containerd ${version} takes no layers from disks`,
      'use containerd 2.4 or later, or set snapshotter = "overlayfs"',
    );
  const caches = configuration.value("plugins", erofsTable, "layer_content_caches");
  const unpackers = configuration.value("plugins", "io.containerd.transfer.v1.local", "unpack_config");
  const unpacks = Array.isArray(unpackers) && unpackers.some((each) => Object(each).snapshotter === "erofs");
  const folder = layerCacheFolder({ snapshotsFolder });
  const hasCaches = Array.isArray(caches) && caches.includes(folder);
  if (hasCaches && unpacks) return ok(name, `erofs; it takes layers from ${folder}`);
  const lines = [...(hasCaches ? [] : cacheLines(folder)), ...(unpacks ? [] : unpackLines())];
  const missing = hasCaches
    ? "the transfer service does not unpack for it"
    : "it looks for no layers where injected disks have them";
  return failure(
    name,
    `erofs, and ${missing} (${configuration.path})`,
    `add to ${configuration.path}, restart containerd, and inject disks that were built with --erofs-cache:\n${lines.join("\n")}`,
  );
}

function cacheLines(folder: string): string[] {
  return [
    `[plugins."${erofsTable}"]`,
    `layer_content_caches = [${JSON.stringify(folder)}]`,
    '[plugins."io.containerd.service.v1.diff-service"]',
    'default = ["erofs", "walking"]',
  ];
}

function unpackLines(): string[] {
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  return [
    '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    `platform = "linux/${architecture}"`,
    'snapshotter = "erofs"',
    'differ = "erofs"',
  ];
}

/** Runtime classes, such as those of Kata Containers, may have a snapshotter of their own. */
export function checkHandlers({
  otherHandlers,
  snapshotter,
}: Pick<ContainerdNode, "otherHandlers" | "snapshotter">): Finding {
  const name = "runtime handlers";
  if (otherHandlers.length === 0) return ok(name, `all use ${snapshotter}`);
  const list = otherHandlers.map((handler) => `"${handler.name}" uses ${handler.snapshotter}`).join(", ");
  return warning(
    name,
    `${list}: it needs the layer blobs, so images of disks without them are skipped`,
    "build disks with --blobs, or inject for the default handler alone with --handlers default-only",
  );
}

export function checkSharing({ sharingPolicy }: Pick<ContainerdNode, "sharingPolicy">): Finding {
  const name = "content sharing";
  if (sharingPolicy !== "isolated") return ok(name, sharingPolicy ?? "shared, as containerd does not say otherwise");
  return warning(
    name,
    "isolated: layer blobs of disks cannot be linked. Images run; export and push of them do not work, nor other snapshotters",
    'set content_sharing_policy = "shared" in the metadata plugin of containerd where that is needed',
  );
}
