import type { ContainerdNode } from "../containerd/containerd-node.ts";
import { type MountTable, propagation } from "../host/mount-table.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";
import { checkPaths } from "./path-checks.ts";

/** Those on which overlayfs keeps its upper directories in practice, and that exchange two names in one step. */
const usualFileSystems: readonly string[] = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "zfs", "bcachefs"];

/** What lies between containerd's files and ours. */
export async function checkHost(node: ContainerdNode): Promise<Finding[]> {
  const table = await node.mounts.table();
  return [
    checkMountNamespace(node),
    checkFileSystem(node, table),
    await checkPaths(node, table),
    checkRootMount(table),
  ];
}

function checkMountNamespace({ mountNamespace, pid }: ContainerdNode): Finding {
  const where = mountNamespace.isOwn ? "that of this program" : "another than that of this program; it can be entered";
  return ok("mount namespace", `containerd (process ${pid}): ${where}`);
}

export function checkFileSystem(
  { snapshotsFolder }: Pick<ContainerdNode, "snapshotsFolder">,
  table: MountTable,
): Finding {
  const name = "file system";
  const entry = table.containing(snapshotsFolder);
  if (entry === undefined) return ok(name, `${snapshotsFolder} lies on no mount that can be seen`);
  const { type, mountPoint, options, superOptions } = entry;
  if (options.includes("ro") || superOptions.includes("ro"))
    return failure(
      name,
      `${snapshotsFolder} is read-only (${type} at ${mountPoint})`,
      "mount it writable; the kernel makes file systems read-only after errors, see its log (dmesg)",
    );
  if (!usualFileSystems.includes(type))
    return warning(
      name,
      `${snapshotsFolder} lies on ${type}, with which injection was not tried`,
      "keep the files of containerd on ext4, xfs or btrfs",
    );
  return ok(name, `${snapshotsFolder} lies on ${type}`);
}

export function checkRootMount(table: MountTable): Finding {
  const name = "root mount";
  const root = table.at("/");
  if (root !== undefined && propagation(root).sharedGroup !== undefined) return ok(name, "shared");
  return warning(
    name,
    "/ is not a shared mount: containers that look at the host's mounts do not see disks that are mounted later",
    "systemd makes it shared; elsewhere run mount --make-rshared / at boot",
  );
}
