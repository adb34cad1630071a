import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { RuntimeError } from "../../runtime-error.ts";

/** Bytes that the other side may send ahead: HTTP/2's own 64 KiB would make a long read wait all the time. */
const windowBytes = 4 << 20;

/**
 * An HTTP/2 connection to a Unix socket, made by the first request, and made anew by the next one after it broke. While no
 * request is under way it does not keep the process alive.
 */
export class GrpcConnection {
  /** Path of the socket. */
  readonly address: string;
  #session: ClientHttp2Session | undefined;
  /** The current one, and those that a restarting daemon lets finish their calls. */
  readonly #sessions = new Set<ClientHttp2Session>();
  #isClosed = false;

  /** `address`: a path, or a `unix://` URL as container tools write it. */
  constructor(address: string) {
    this.address = address.replace(/^unix:(\/\/)?/, "");
  }

  /** Opens a stream for one call. What goes wrong with the connection arrives as the stream's error. */
  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    if (this.#isClosed)
      throw new RuntimeError("cancelled", `The connection to ${this.address} was closed by its owner`);
    const session = this.#usableSession ?? this.#open();
    const stream = session.request(headers);
    hold(session, stream);
    return stream;
  }

  /** Ends the connection and all calls on it. */
  close(): void {
    this.#isClosed = true;
    for (const session of this.#sessions) session.destroy();
  }

  /** A session may be at its end already, and its event still to come. */
  get #usableSession(): ClientHttp2Session | undefined {
    const session = this.#session;
    return session === undefined || session.closed || session.destroyed ? undefined : session;
  }

  #open(): ClientHttp2Session {
    const session = connect("http://localhost", {
      createConnection: () => connectSocket(this.address),
      settings: { enablePush: false, initialWindowSize: windowBytes },
    });
    const forget = () => {
      if (this.#session === session) this.#session = undefined;
    };
    session.on("connect", () => {
      if (!session.destroyed) session.setLocalWindowSize(windowBytes);
    });
    session.on("goaway", forget);
    session.on("close", () => {
      forget();
      this.#sessions.delete(session);
    });
    // Each stream gets the error, too.
    session.on("error", forget);
    session.unref();
    this.#sessions.add(session);
    this.#session = session;
    return session;
  }
}

const heldStreams = new WeakMap<ClientHttp2Session, number>();

function hold(session: ClientHttp2Session, stream: ClientHttp2Stream): void {
  const add = (count: number) => {
    const held = (heldStreams.get(session) ?? 0) + count;
    heldStreams.set(session, held);
    if (session.destroyed) return;
    if (held === 0) session.unref();
    else session.ref();
  };
  add(1);
  stream.once("close", () => add(-1));
}
