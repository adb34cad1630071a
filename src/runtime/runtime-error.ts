import { CodedError } from "../oci/coded-error.ts";

export type RuntimeErrorCode =
  /** The caller gave up. */
  | "cancelled"
  | "unknown"
  /** The runtime refuses what was asked for as nonsense. */
  | "invalid-argument"
  /** No answer in time. */
  | "deadline-exceeded"
  | "not-found"
  | "already-exists"
  /** The socket, or what lies behind it, is for others. */
  | "permission-denied"
  | "resource-exhausted"
  /** Not in this state: a snapshot with children, an object still in use. */
  | "failed-precondition"
  | "aborted"
  | "out-of-range"
  /** The runtime is too old, or the plugin is switched off. */
  | "unimplemented"
  | "internal"
  /** Not running, restarting, or the object is locked by someone else: worth a second try. */
  | "unavailable"
  | "data-loss"
  | "unauthenticated"
  /** Something answers on the socket, but not the program that should. */
  | "wrong-program";

/** What can go wrong when a container runtime is spoken to. */
export class RuntimeError extends CodedError<RuntimeErrorCode> {}

export function isRuntimeError(error: unknown, ...codes: readonly RuntimeErrorCode[]): error is RuntimeError {
  return error instanceof RuntimeError && (codes.length === 0 || codes.includes(error.code));
}
