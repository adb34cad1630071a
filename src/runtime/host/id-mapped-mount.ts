import { closeSync } from "node:fs";
import { HostError } from "./host-error.ts";
import { type MountNamespace, ownMountNamespace } from "./mount-namespace.ts";
import { errorCode } from "./system-calls.ts";
import { openUserNamespace } from "./user-namespace.ts";

/** Calls newer than Linux 5.0 have the same number on all architectures that containers run on (asm-generic/unistd.h). */
const openTreeNumber = 428;
const mountSetattrNumber = 442;
/** include/uapi/linux/fcntl.h. */
const atCurrentFolder = -100;
const atRecursive = 0x8000;
const atEmptyPath = 0x1000;
/** include/uapi/linux/mount.h; O_CLOEXEC is that of asm-generic/fcntl.h. */
const openTreeClone = 1;
const openTreeCloseOnExec = 0o2000000;
const attributeIdMap = 0x10_0000;
/** `struct mount_attr`: attr_set, attr_clr, propagation, userns_fd, each a u64. */
const attributes = { bytes: 32, set: 0, userNamespace: 24 } as const;

/** Ids of the trial; nothing is ever written with them. */
const firstId = 100_000;
const idCount = 65_536;

export type IdMapTrial =
  | { readonly isSupported: true }
  /** `code` names errno where a call on the mounts was refused. */
  | { readonly isSupported: false; readonly code: string | undefined; readonly reason: string };

/**
 * Tries what containerd 2.3 and later does for every pod with a user namespace: clones the mounts at and below a folder, and
 * maps the ids of the clone. One mount below that does not allow it makes all such pods of the node fail. The clone is never
 * attached, and gone at the end. Needs root and Linux 5.12.
 */
export async function tryIdMappedMount(
  path: string,
  namespace: MountNamespace = ownMountNamespace,
): Promise<IdMapTrial> {
  let userNamespace: number;
  try {
    userNamespace = openUserNamespace(firstId, idCount);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { isSupported: false, code: errorCode(error.cause), reason: error.message };
  }
  try {
    await cloneWithIds(path, userNamespace, namespace);
    return { isSupported: true };
  } catch (error) {
    const code = errorCode(error);
    if (code === undefined) throw error;
    return { isSupported: false, code, reason: reasonOf(code, path) };
  } finally {
    closeSync(userNamespace);
  }
}

async function cloneWithIds(path: string, userNamespace: number, namespace: MountNamespace): Promise<void> {
  const treeFlags = openTreeClone | openTreeCloseOnExec | atRecursive;
  const tree = await namespace.call("openTree", openTreeNumber, atCurrentFolder, path, treeFlags);
  try {
    const bytes = Buffer.alloc(attributes.bytes);
    bytes.writeBigUInt64LE(BigInt(attributeIdMap), attributes.set);
    bytes.writeBigUInt64LE(BigInt(userNamespace), attributes.userNamespace);
    const flags = atEmptyPath | atRecursive;
    await namespace.call("mountSetattr", mountSetattrNumber, tree, "", flags, bytes, attributes.bytes);
  } finally {
    closeSync(tree);
  }
}

function reasonOf(code: string, path: string): string {
  switch (code) {
    case "EINVAL":
      return `a file system mounted at or below ${path} does not allow ID-mapped mounts (EROFS does from Linux 5.19)`;
    case "ENOSYS":
      return "the kernel has no ID-mapped mounts (Linux 5.12 or later is needed)";
    case "EPERM":
    case "EACCES":
      return `root with CAP_SYS_ADMIN is needed to clone the mounts of ${path}, or one of them is ID-mapped already`;
    default:
      return `the mounts of ${path} cannot be cloned with other ids (${code})`;
  }
}
