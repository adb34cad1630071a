import { once } from "node:events";
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { RuntimeError } from "../../runtime-error.ts";
import type { GrpcConnection } from "./grpc-connection.ts";
import { FrameSplitter, frame } from "./grpc-frames.ts";
import { type GrpcStatus, grpcStatusOf } from "./grpc-status.ts";
import { socketFailure, wrongProgram } from "./socket-failure.ts";

/** What every call takes. */
export type CallOptions = {
  /** Ends the call; it then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the call with `deadline-exceeded`, on both sides. */
  readonly timeoutMs?: number | undefined;
};

export type CallTarget = {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/**
 * One gRPC call: messages both ways and a status at the end (gRPC over HTTP/2). Reading to the end, or breaking off, frees it.
 * Throws `RuntimeError`, or the reason of the signal.
 */
export class GrpcCall {
  readonly #address: string;
  readonly #method: string;
  readonly #stream: ClientHttp2Stream;
  readonly #closed: Promise<unknown>;
  #headers: IncomingHttpHeaders | undefined;
  #status: GrpcStatus | undefined;
  /** Why this side gave up. */
  #givenUp: { readonly reason: unknown } | undefined;

  constructor(connection: GrpcConnection, target: CallTarget, options: CallOptions) {
    options.signal?.throwIfAborted();
    this.#address = connection.address;
    this.#method = target.method;
    this.#stream = connection.request(requestHeaders(target, options.timeoutMs));
    this.#stream.on("error", () => {}); // `messages` throws it
    this.#stream.on("response", (headers) => {
      this.#headers = headers;
      this.#status = grpcStatusOf(headers);
    });
    this.#stream.on("trailers", (trailers) => {
      this.#status = grpcStatusOf(trailers);
    });
    this.#closed = new Promise((resolve) => this.#stream.once("close", resolve));
    this.#giveUpWhenTold(options);
  }

  /** Sends one message; waits while the other side takes no more. After the status has come it does nothing. */
  async send(message: Uint8Array): Promise<void> {
    if (!this.#stream.writable || this.#status !== undefined) return;
    if (this.#stream.write(frame(message))) return;
    await Promise.race([once(this.#stream, "drain").catch(() => {}), this.#closed]);
  }

  /** Says that no further message will be sent. */
  end(): void {
    if (this.#stream.writable) this.#stream.end();
  }

  /** Frees the call; the other side sees it as cancelled if it is not over. */
  cancel(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /** The messages of the other side. Throws when the status is not OK. */
  async *messages(): AsyncGenerator<Uint8Array, void, undefined> {
    const splitter = new FrameSplitter();
    let isComplete = false;
    try {
      for await (const chunk of this.#stream) yield* this.#split(splitter, chunk);
      // The trailers may come after the last byte was taken.
      if (this.#status === undefined) await this.#closed;
      isComplete = true;
    } catch (error) {
      if (error instanceof RuntimeError) throw error;
      throw this.#failure(error);
    } finally {
      if (!isComplete) this.cancel();
    }
    if (this.#status === undefined || this.#status.code !== undefined || this.#givenUp !== undefined) {
      throw this.#failure(undefined);
    }
    if (splitter.isInside) throw this.#error("internal", "the answer ends within a message");
  }

  *#split(splitter: FrameSplitter, chunk: Buffer): Generator<Uint8Array> {
    // What is no gRPC may be anything: do not look for messages in it.
    if (this.#headers !== undefined && !isGrpc(this.#headers)) throw this.#notGrpc(this.#headers);
    try {
      yield* splitter.push(chunk);
    } catch (error) {
      throw this.#error("internal", error instanceof Error ? error.message : String(error));
    }
  }

  #failure(cause: unknown): unknown {
    if (this.#givenUp !== undefined) return this.#givenUp.reason;
    if (this.#status?.code !== undefined) return this.#error(this.#status.code, this.#status.message);
    if (this.#headers !== undefined && !isGrpc(this.#headers)) return this.#notGrpc(this.#headers);
    return socketFailure(this.#address, cause);
  }

  #notGrpc(headers: IncomingHttpHeaders): RuntimeError {
    return wrongProgram(this.#address, `does not speak gRPC (HTTP status ${headers[":status"]})`);
  }

  #error(code: RuntimeError["code"], message: string): RuntimeError {
    return new RuntimeError(code, `containerd on ${this.#address}, ${shortName(this.#method)}: ${message || code}`);
  }

  #giveUpWhenTold({ signal, timeoutMs }: CallOptions): void {
    const giveUp = (reason: unknown) => {
      if (this.#stream.closed) return;
      this.#givenUp = { reason };
      this.#stream.close(constants.NGHTTP2_CANCEL);
      // Does not wait for a peer that takes nothing any more.
      this.#stream.destroy();
    };
    const abort = () => giveUp(signal?.reason);
    const late = () => giveUp(this.#error("deadline-exceeded", `no answer within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    signal?.addEventListener("abort", abort, { once: true });
    this.#stream.once("close", () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
  }
}

/** `Images/Get` of `containerd.services.images.v1.Images/Get`. */
export function shortName(method: string): string {
  return method.slice(method.lastIndexOf(".") + 1);
}

function isGrpc(headers: IncomingHttpHeaders): boolean {
  return Number(headers[":status"]) === 200 && String(headers["content-type"]).startsWith("application/grpc");
}

/** The other side gives up this much later: it may say no more than "cancelled", while we know why. */
const serverGraceMs = 1_000;

/** gRPC over HTTP/2, "Requests"; the timeout has at most eight digits. */
function requestHeaders(target: CallTarget, timeoutMs: number | undefined): OutgoingHttpHeaders {
  const serverTimeoutMs = timeoutMs === undefined ? undefined : Math.ceil(timeoutMs) + serverGraceMs;
  return {
    ":method": "POST",
    ":path": `/${target.method}`,
    te: "trailers",
    "content-type": "application/grpc",
    "user-agent": "nodewarm",
    ...(serverTimeoutMs === undefined ? {} : { "grpc-timeout": `${Math.min(serverTimeoutMs, 99_999_999)}m` }),
    ...target.headers,
  };
}
