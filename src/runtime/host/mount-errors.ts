import { HostError } from "./host-error.ts";
import type { MountEntry, MountTable } from "./mount-table.ts";
import { findPathUsers } from "./path-users.ts";
import { errorCode } from "./system-calls.ts";

/** What a failed mount(2) means, and what to do. `device` is what was given to the kernel. */
export function mountError(cause: unknown, source: string, target: string, device: string): HostError {
  const code = errorCode(cause);
  const what = `${source} cannot be mounted on ${target}`;
  switch (code) {
    case "EPERM":
    case "EACCES":
      return new HostError(
        "permission",
        `${what}: root with CAP_SYS_ADMIN is needed; run as root, and in a container as a privileged one`,
        { cause },
      );
    case "ENODEV":
      return new HostError(
        "not-supported",
        `${what}: this kernel has no EROFS file system; install its module (on Ubuntu linux-modules-extra-$(uname -r)) and run "modprobe erofs"`,
        { cause },
      );
    case "EBUSY":
      return new HostError("busy", `${what}: ${device} is in use by another driver or mount; see "lsblk ${device}"`, {
        cause,
      });
    case "EINVAL":
    case "EUCLEAN":
    case "EOPNOTSUPP":
    case "ENOTSUP":
      return new HostError(
        "refused",
        `${what}: the kernel does not take ${device} (${code}); "nodewarm verify ${source}" checks the disk, "dmesg" has the kernel's reason`,
        { cause },
      );
    case "EIO":
      return new HostError("refused", `${what}: ${device} cannot be read (EIO); see "dmesg"`, { cause });
    case "ENOTDIR":
      return new HostError("occupied", `${what}: both must be folders`, { cause });
    case "ENOENT":
    case "ENOTBLK":
    case "ENXIO":
      return new HostError(
        "not-found",
        `${what}: ${device} or the mount point does not exist, or the device is empty (${code})`,
        {
          cause,
        },
      );
    default:
      return new HostError("system", `${what}: ${code ?? String(cause)}`, { cause });
  }
}

const namesShown = 5;

/**
 * What a failed umount2(2) means; for EBUSY with who holds the mount in the namespace of `processId`. `table` is that after
 * the failure.
 */
export async function unmountError(
  cause: unknown,
  mounted: MountEntry,
  table: MountTable,
  processId: number | "self",
): Promise<HostError> {
  const code = errorCode(cause);
  const { mountPoint } = mounted;
  if (code === "EPERM" || code === "EACCES") {
    return new HostError("permission", `${mountPoint} cannot be unmounted: root with CAP_SYS_ADMIN is needed`, {
      cause,
    });
  }
  if (code !== "EBUSY")
    return new HostError("system", `${mountPoint} cannot be unmounted: ${code ?? String(cause)}`, { cause });
  const below = table.entries.filter(({ parentId, id }) => parentId === mounted.id && id !== mounted.id);
  const users = await findPathUsers(mountPoint, processId);
  const holders = [
    ...below.map((entry) => `the mount ${entry.mountPoint}`),
    ...users.map(({ pid, name }) => `process ${pid} (${name})`),
  ];
  const shown =
    holders.slice(0, namesShown).join(", ") +
    (holders.length > namesShown ? ` and ${holders.length - namesShown} more` : "");
  return new HostError(
    "busy",
    `${mountPoint} cannot be unmounted, as it is in use by ${shown || "the kernel or a process that cannot be seen"}`,
    { cause },
  );
}
