import { CodedError } from "../oci/coded-error.ts";

export type DiskErrorCode =
  /** An EROFS image or some other file, but no cache disk. */
  | "not-a-disk"
  /** A disk of a later major format version. */
  | "unknown-version"
  /** The disk contradicts its format or its digests. */
  | "corrupt"
  /** A bound on input is exceeded; the message names it. */
  | "limit"
  /** The options of a build contradict each other or the images. */
  | "invalid-option"
  /** An image contradicts itself, or is one that containerd refuses. */
  | "invalid-image"
  /** The system cannot read the older disk of a build. */
  | "unreadable"
  /** The output is in use by another build, or is no place for a file. */
  | "output";

/** What can go wrong when disks are built, read or verified. */
export class DiskError extends CodedError<DiskErrorCode> {}
