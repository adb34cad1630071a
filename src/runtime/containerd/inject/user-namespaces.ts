import { tryIdMappedMount } from "../../host/id-mapped-mount.ts";
import type { Condition } from "../../runtime.ts";
import { RuntimeError } from "../../runtime-error.ts";
import { type ContainerdNode, criNamespace } from "../containerd-node.ts";
import { isFrom, parseVersion } from "../version-number.ts";

/**
 * From 2.3 on containerd ID-maps all mounts below its snapshots for every pod with a user namespace (`core/mount/mount_idmapped_linux.go`):
 * one that refuses breaks all such pods of the node, of pulled images too. So a disk that cannot be mapped is not put there, unless nothing
 * can be mapped on this node and there is nothing to break. Throws `RuntimeError` `failed-precondition`.
 */
export async function refuseUnmappable(
  node: Pick<ContainerdNode, "version" | "mountNamespace" | "snapshotsFolder">,
  mountPoint: string,
): Promise<void> {
  if (!isFrom2(node.version, 3)) return;
  const trial = await tryIdMappedMount(mountPoint, node.mountNamespace);
  if (trial.isSupported) return;
  if (!(await tryIdMappedMount(node.snapshotsFolder, node.mountNamespace)).isSupported) return;
  throw new RuntimeError(
    "failed-precondition",
    `mounts of this disk cannot be ID-mapped (${trial.reason}), and beside it no pod with a user namespace would start; use a kernel with ID-mapped EROFS (5.19 or later)`,
  );
}

/** What pods with user namespaces can expect of injected images. */
export function userNamespaceConditions({
  version,
  namespace,
}: Pick<ContainerdNode, "version" | "namespace">): Condition[] {
  if (namespace !== criNamespace || !isFrom2(version, 0) || isFrom2(version, 3)) return [];
  return [
    {
      type: "UserNamespacesUnsupported",
      message: `containerd ${version} cannot start pods with user namespaces (hostUsers: false) from injected images: they fail when they are mounted; 2.3 and later can`,
    },
  ];
}

/** Whether a version of containerd is 2.`minor` or later; one that cannot be read is taken for an old one. */
function isFrom2(text: string, minor: number): boolean {
  const version = parseVersion(text);
  return version !== undefined && isFrom(version, [2, minor, 0]);
}
