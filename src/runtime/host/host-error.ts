import { CodedError } from "../../oci/coded-error.ts";

export type HostErrorCode =
  /** Root, or a capability, is missing. */
  | "permission"
  /** The kernel lacks a file system or a call that is needed. */
  | "not-supported"
  /** In use: a mount, a device, or a folder that is not empty. The message names who holds it where that can be found out. */
  | "busy"
  /** Something else is mounted, or lies, where we want to be. */
  | "occupied"
  /** A path, device or process does not exist. */
  | "not-found"
  /** The kernel refuses the disk, or a mount option. */
  | "refused"
  /** What the kernel tells of itself is not what its documentation says. */
  | "unreadable"
  /** Any other failure of a system call. */
  | "system";

/** What can go wrong between Nodewarm and the machine's kernel: mounts, loop devices, namespaces. */
export class HostError extends CodedError<HostErrorCode> {}
