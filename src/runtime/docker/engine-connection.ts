import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { RuntimeError, type RuntimeErrorCode } from "../runtime-error.ts";

export type EngineRequest = {
  readonly method: "GET" | "POST" | "DELETE";
  /** With the query. */
  readonly path: string;
  /** A tar archive. */
  readonly body?: Uint8Array;
  /** `X-Registry-Auth`: for registries that the daemon asks. */
  readonly registryAuth?: string | undefined;
  readonly signal: AbortSignal;
};

/** What the daemon means by the status of an answer (Engine API, "Errors"). */
const codes: Readonly<Record<number, RuntimeErrorCode>> = {
  400: "invalid-argument",
  403: "permission-denied",
  404: "not-found",
  409: "failed-precondition",
  501: "unimplemented",
  503: "unavailable",
};

/** Answers are lists of images and containers; nothing that we ask for is longer. */
const maxAnswerBytes = 256 << 20;

/** The HTTP of a Docker daemon on its Unix socket: a connection for each request, so that a restart of the daemon is not noticed. */
export class EngineConnection {
  /** Path of the socket. */
  readonly address: string;

  /** `address`: a path, or a `unix://` URL as in `DOCKER_HOST`. */
  constructor(address: string) {
    this.address = address.replace(/^unix:(\/\/)?/, "");
  }

  /**
   * The text of the answer. Throws `RuntimeError`, with the daemon's own words where it refuses, or the reason of the signal.
   */
  async send(message: EngineRequest): Promise<string> {
    const { method, path, signal } = message;
    const { status, text } = await this.#exchange(message).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : socketError(this.address, error);
    });
    if (status >= 200 && status < 400) return text;
    const code = codes[status] ?? "internal";
    throw new RuntimeError(code, `Docker at ${this.address}: ${method} ${path}: ${messageOf(text)} (${status})`);
  }

  /**
   * The lines of an answer that goes on, as they come; the first is empty, and says that the answer has begun. Throws as `send`, and
   * `unavailable` when the daemon ends it.
   */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        request({ socketPath: this.address, agent: false, path, signal }, resolve).on("error", reject).end();
      });
      const { statusCode = 0 } = answer;
      if (statusCode !== 200) {
        answer.destroy();
        throw new RuntimeError(
          codes[statusCode] ?? "internal",
          `Docker at ${this.address}: GET ${path}: (${statusCode})`,
        );
      }
      yield "";
      yield* createInterface({ input: answer, crlfDelay: Number.POSITIVE_INFINITY });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof RuntimeError ? error : socketError(this.address, error);
    }
    signal.throwIfAborted();
    throw new RuntimeError("unavailable", `Docker at ${this.address} ended GET ${path}: is it restarting?`);
  }

  #exchange({ method, path, body, registryAuth, signal }: EngineRequest): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = {
        ...(body && { "content-type": "application/x-tar", "content-length": body.length }),
        ...(registryAuth !== undefined && { "x-registry-auth": registryAuth }),
      };
      const sent = request({ socketPath: this.address, agent: false, method, path, headers, signal }, (answer) => {
        const pieces: Buffer[] = [];
        let bytes = 0;
        answer.on("data", (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > maxAnswerBytes) answer.destroy(new Error(`the answer has more than ${maxAnswerBytes} bytes`));
          else pieces.push(piece);
        });
        answer.on("error", reject);
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(pieces).toString() }));
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
}

function messageOf(text: string): string {
  try {
    const { message }: { message?: unknown } = JSON.parse(text);
    if (typeof message === "string") return message;
  } catch {
    // Not from the daemon's API, such as the page of a proxy.
  }
  return text.trim().slice(0, 500) || "no reason given";
}

function socketError(address: string, cause: unknown): RuntimeError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
  const error = (kind: RuntimeErrorCode, message: string) => new RuntimeError(kind, message, { cause });
  switch (code) {
    case "ENOENT":
      return error("unavailable", `There is no socket ${address}: start Docker, or name its socket (--address)`);
    case "ECONNREFUSED":
      return error("unavailable", `Nobody listens on ${address}: Docker is stopped or starting; see its log`);
    case "EACCES":
    case "EPERM":
      return error("permission-denied", `The socket ${address} is closed to this user: run as root`);
    case "ENOTSOCK":
    case "EPROTOTYPE":
    case "ENOTDIR":
    case "HPE_INVALID_CONSTANT":
      return error("wrong-program", `What answers on ${address} is no Docker daemon; name its socket (--address)`);
    default: {
      const why = cause instanceof Error ? cause.message : String(cause);
      return error("unavailable", `The connection to Docker at ${address} broke (${why}): is it restarting?`);
    }
  }
}
