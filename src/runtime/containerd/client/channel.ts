import { RuntimeError } from "../../runtime-error.ts";
import { type CallOptions, GrpcCall, shortName } from "./grpc-call.ts";
import type { GrpcConnection } from "./grpc-connection.ts";
import { type Decoded, decode, type Encodable, encode, type Schema } from "./message.ts";

/** A method of a gRPC service with the messages that it takes and gives. */
export type Method<Request extends Schema, Response extends Schema> = {
  /** `package.Service/Method`. */
  readonly name: string;
  readonly request: Request;
  readonly response: Response;
};

/** Calls whose callers set no time: containerd answers in milliseconds, but may collect garbage first. */
const defaultTimeoutMs = 60_000;

/** A conversation of one call. */
export type Conversation<Request extends Schema, Response extends Schema> = {
  send(message: Encodable<Request>): Promise<void>;
  /** No more will be sent. */
  end(): void;
  /** The next answer; `undefined` after the last. */
  next(): Promise<Decoded<Response> | undefined>;
  /** Frees the call; the server sees it as cancelled if it is not over. */
  close(): Promise<void>;
};

/** Calls methods of the services behind one connection, with headers of their own. Everything throws `RuntimeError`. */
export class Channel {
  readonly #connection: GrpcConnection;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(connection: GrpcConnection, headers: Readonly<Record<string, string>> = {}) {
    this.#connection = connection;
    this.#headers = headers;
  }

  get address(): string {
    return this.#connection.address;
  }

  /** The same connection, with further headers. */
  with(headers: Readonly<Record<string, string>>): Channel {
    return new Channel(this.#connection, { ...this.#headers, ...headers });
  }

  /** One message, one answer. */
  async call<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    message: Encodable<Request>,
    options: CallOptions = {},
  ): Promise<Decoded<Response>> {
    let answer: Decoded<Response> | undefined;
    for await (const decoded of this.stream(method, message, { timeoutMs: defaultTimeoutMs, ...options })) {
      answer = decoded;
    }
    if (answer !== undefined) return answer;
    throw new RuntimeError("internal", `containerd on ${this.address}, ${shortName(method.name)}: no answer`);
  }

  /** One message, any number of answers. No time limit of its own. */
  async *stream<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    message: Encodable<Request>,
    options: CallOptions = {},
  ): AsyncGenerator<Decoded<Response>, void, undefined> {
    const encoded = encode(method.request, message);
    const call = this.#start(method, options);
    await call.send(encoded);
    call.end();
    for await (const answer of call.messages()) yield this.#decode(method, answer);
  }

  /** Messages and answers in any order. No time limit of its own. */
  converse<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    options: CallOptions = {},
  ): Conversation<Request, Response> {
    const call = this.#start(method, options);
    const answers = call.messages();
    return {
      send: (message) => call.send(encode(method.request, message)),
      end: () => call.end(),
      next: async () => {
        const { value, done } = await answers.next();
        return done === true ? undefined : this.#decode(method, value);
      },
      close: async () => {
        await answers.return();
        call.cancel();
      },
    };
  }

  #start<Request extends Schema, Response extends Schema>(
    method: Method<Request, Response>,
    options: CallOptions,
  ): GrpcCall {
    return new GrpcCall(this.#connection, { method: method.name, headers: this.#headers }, options);
  }

  #decode<Response extends Schema>(method: Method<Schema, Response>, answer: Uint8Array): Decoded<Response> {
    try {
      return decode(method.response, answer);
    } catch (cause) {
      const place = `containerd on ${this.address}, ${shortName(method.name)}`;
      throw new RuntimeError("internal", `${place}: the answer cannot be read`, { cause });
    }
  }
}
