import type { RuntimeErrorCode } from "../../runtime-error.ts";

/** gRPC status codes from 1 on, in their order (gRPC core concepts, "Status codes and their use in gRPC"). */
const codes: readonly RuntimeErrorCode[] = [
  "cancelled",
  "unknown",
  "invalid-argument",
  "deadline-exceeded",
  "not-found",
  "already-exists",
  "permission-denied",
  "resource-exhausted",
  "failed-precondition",
  "aborted",
  "out-of-range",
  "unimplemented",
  "internal",
  "unavailable",
  "data-loss",
  "unauthenticated",
];

/** The last word of a call. `code` is `undefined` when it went well. */
export type GrpcStatus = {
  readonly code: RuntimeErrorCode | undefined;
  readonly message: string;
};

type Headers = Readonly<Record<string, string | readonly string[] | number | undefined>>;

/** The status that headers or trailers carry (gRPC over HTTP/2, "Responses"); `undefined` when they carry none. */
export function grpcStatusOf(headers: Headers): GrpcStatus | undefined {
  const status = headers["grpc-status"];
  if (status === undefined) return undefined;
  const number = Number(status);
  const message = unescapeMessage(String(headers["grpc-message"] ?? ""));
  return number === 0 ? { code: undefined, message } : { code: codes[number - 1] ?? "unknown", message };
}

/** Messages are percent-encoded UTF-8; what is wrongly encoded is given as it came. */
function unescapeMessage(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
