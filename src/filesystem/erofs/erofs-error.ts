import { CodedError } from "../../oci/coded-error.ts";

export type ErofsErrorCode =
  /** There is no EROFS superblock. */
  | "not-erofs"
  /** A valid image that uses what Nodewarm does not read or write. */
  | "unsupported"
  /** The bytes contradict the format. */
  | "corrupt"
  /** The image ends before its data does. */
  | "truncated"
  /** A bound on size or depth is exceeded. */
  | "limit"
  | "not-found"
  | "not-a-directory"
  | "not-a-file";

/** What can go wrong when EROFS images are read or written. */
export class ErofsError extends CodedError<ErofsErrorCode> {}
