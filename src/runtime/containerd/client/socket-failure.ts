import { RuntimeError } from "../../runtime-error.ts";

/** The error for a connection that broke, or never was, as Node reports it (`code` of system and HTTP/2 errors). */
export function socketFailure(address: string, reported: unknown): RuntimeError {
  // A stream that waited for the connection carries the connection's error inside.
  const isWrapped = reported instanceof Error && codeOf(reported) === "ERR_HTTP2_STREAM_CANCEL";
  const cause = isWrapped ? (reported.cause ?? reported) : reported;
  switch (codeOf(cause)) {
    case "ENOENT":
      return new RuntimeError(
        "unavailable",
        `There is no socket ${address}: start containerd, or name the socket of the one that runs (--address)`,
        { cause },
      );
    case "ECONNREFUSED":
      return new RuntimeError(
        "unavailable",
        `Nobody listens on ${address}: containerd is stopped or starting; see its log (journalctl -u containerd)`,
        { cause },
      );
    case "EACCES":
    case "EPERM":
      return new RuntimeError("permission-denied", `The socket ${address} is closed to this user: run as root`, {
        cause,
      });
    case "ENOTSOCK":
    case "EPROTOTYPE":
    case "ENOTDIR":
      return wrongProgram(address, "is no stream socket", cause);
    case "ENAMETOOLONG":
    case "EINVAL":
      return new RuntimeError(
        "invalid-argument",
        `The path ${address} cannot be that of a socket: Linux allows 107 bytes; name a shorter one`,
        { cause },
      );
    case "ERR_HTTP2_ERROR":
    case "ERR_HTTP2_SESSION_ERROR":
      return wrongProgram(address, "does not speak gRPC", cause);
    default: {
      const why = cause instanceof Error ? cause.message : "it was closed";
      return new RuntimeError("unavailable", `The connection to ${address} broke (${why}): is containerd restarting?`, {
        cause,
      });
    }
  }
}

export function wrongProgram(address: string, what: string, cause?: unknown): RuntimeError {
  return new RuntimeError(
    "wrong-program",
    `What answers on ${address} ${what}: name the socket of containerd (usually /run/containerd/containerd.sock)`,
    { cause },
  );
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
