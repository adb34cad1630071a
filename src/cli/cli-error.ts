import { CodedError } from "../oci/coded-error.ts";

export type CliErrorCode =
  /** The command line cannot be carried out as it stands. */
  | "usage"
  /** A file that the command line names cannot be read. */
  | "unreadable-file"
  /** Only root can do this. */
  | "not-root"
  /** Something that the command line names is not there: an image on no disk, a disk that is not injected. */
  | "not-found"
  /** A disk is not what its id says. */
  | "unsound-disk"
  /** One of several runtimes failed; the message has what each said. */
  | "runtime-failed"
  /** The disk cannot be written: no space, no permission. */
  | "unwritable-disk"
  /** One or more images could not be looked up. */
  | "unresolved-images"
  /** An agent runs that must not. */
  | "agent-runs"
  /** The service manager refuses what it is asked for. */
  | "service-manager-failed"
  /** Disks are injected into something that does not run. */
  | "disks-left"
  /** One name stands for two different images. */
  | "conflicting-names";

/** What goes wrong in the commands themselves, not in the parts that they wire. */
export class CliError extends CodedError<CliErrorCode> {}
