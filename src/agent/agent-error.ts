import { CodedError } from "../oci/coded-error.ts";

export type AgentErrorCode =
  | "invalid-configuration"
  | "not-trusted"
  | "not-found"
  | "no-space"
  | "state-unusable"
  | "busy"
  /** Said by a running agent to who asked it. */
  | "agent-failed";

/** What the agent itself refuses or cannot do. Messages name the thing, the place and the way out. */
export class AgentError extends CodedError<AgentErrorCode> {}

/** The code of any error, for logs and metrics; `unexpected` where it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unexpected";
}
