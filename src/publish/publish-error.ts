import { CodedError } from "../oci/coded-error.ts";

export type PublishErrorCode =
  /** What is given is no root file system of a node. */
  | "invalid-root"
  /** A disk that is not sound, or two that cannot be together. */
  | "unsound-disk"
  /** There is no room for what is to be written. */
  | "no-space"
  /** The program runs from a checkout, which cannot be installed. */
  | "no-program";

/** What can go wrong when disks are brought to where nodes find them. */
export class PublishError extends CodedError<PublishErrorCode> {}
