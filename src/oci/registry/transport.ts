import type { IncomingMessage } from "node:http";
import { causeText, OciError } from "../oci-error.ts";
import { bodyPieces } from "./body-pieces.ts";
import { Connections, noAnswerCode } from "./connections.ts";
import { plainTls, type TlsSettings } from "./endpoint.ts";
import { fixedProxy, type ProxyChoice } from "./proxies.ts";
import { TryAgain } from "./retry.ts";

export type TransportOptions = {
  /** PEM, trusted for every server. */
  readonly authorities: readonly string[];
  /** Time without headers, or without progress in a body. */
  readonly stallMs: number;
  readonly userAgent: string;
  readonly proxyFor: ProxyChoice;
};

export type HttpRequest = {
  readonly method: "GET" | "HEAD" | "POST";
  readonly url: URL;
  /** Sent to the origin of `url` only, not to where it redirects. */
  readonly privateHeaders: Readonly<Record<string, string | string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly tls: TlsSettings;
  /** URL of a proxy, or `none`, whatever the environment says. Redirects are followed through it too. */
  readonly proxy?: string | undefined;
  readonly signal: AbortSignal;
};

export type HttpAnswer = {
  readonly status: number;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  header(name: string): string | undefined;
  headers(name: string): readonly string[];
  /** The body; throws `TryAgain` when it breaks off or stalls. Leaving the loop closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Reads away a short body so that the connection can be used again. */
  discard(): Promise<void>;
};

const maxRedirects = 10;

/** Sends requests and follows redirects, with what may go where decided here and nowhere else. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #connections = new Map<TlsSettings, Map<string | undefined, Connections>>();

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** Any status but a followed redirect is an answer. Throws `TryAgain` for network failures, `OciError`. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    let { url } = request;
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const sameOrigin = url.origin === request.url.origin;
      const headers = { ...request.headers, ...(sameOrigin && request.privateHeaders) };
      const answer = await this.#sendOnce(request, url, headers, sameOrigin ? request.tls : plainTls);
      const location = answer.header("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined || request.method === "POST") {
        return answer;
      }
      await answer.discard();
      url = redirected(request.url, url, location);
    }
    throw new OciError("redirect-refused", `${shownUrl(request.url)} redirects more than ${maxRedirects} times`);
  }

  async close(): Promise<void> {
    const open = [...this.#connections.values()].flatMap((each) => [...each.values()]);
    this.#connections.clear();
    await Promise.all(open.map((connections) => connections.close()));
  }

  async #sendOnce(
    request: HttpRequest,
    url: URL,
    headers: Record<string, string | string[]>,
    tls: TlsSettings,
  ): Promise<HttpAnswer> {
    const { method, signal, body } = request;
    signal.throwIfAborted();
    try {
      const answer = await this.#connectionsWith(tls, request.proxy).send(url, {
        method,
        headers: { "user-agent": this.#options.userAgent, "accept-encoding": "identity", ...headers },
        body,
        signal,
      });
      return toAnswer(answer, url, method === "HEAD", this.#options.stallMs, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw networkFailure(url, error);
    }
  }

  /** Settings that are used no more; what is under way goes on. */
  release(tls: TlsSettings): void {
    this.#connections.delete(tls);
  }

  #connectionsWith(tls: TlsSettings, proxy: string | undefined): Connections {
    let byProxy = this.#connections.get(tls);
    if (!byProxy) {
      byProxy = new Map();
      this.#connections.set(tls, byProxy);
    }
    let connections = byProxy.get(proxy);
    if (!connections) {
      const proxyFor = proxy === undefined ? this.#options.proxyFor : fixedProxy(proxy);
      connections = new Connections({ ...this.#options, proxyFor }, tls);
      byProxy.set(proxy, connections);
    }
    return connections;
  }
}

/** A URL for messages: without user, password, query and fragment, any of which may hold a secret. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === "" ? "" : "?…"}`;
}

function redirected(first: URL, from: URL, location: string): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw new OciError("redirect-refused", `${shownUrl(first)} redirects to something that is no URL`);
  }
  if (to.protocol !== "https:" && to.protocol !== "http:") {
    throw new OciError(
      "redirect-refused",
      `${shownUrl(first)} redirects to a ${to.protocol} URL; only http and https are followed`,
    );
  }
  if (from.protocol === "https:" && to.protocol === "http:") {
    throw new OciError("redirect-refused", `${shownUrl(first)} redirects from https to plain http at ${to.host}`);
  }
  to.username = "";
  to.password = "";
  return to;
}

function toAnswer(
  answer: IncomingMessage,
  url: URL,
  isHead: boolean,
  stallMs: number,
  signal: AbortSignal,
): HttpAnswer {
  const headers = (name: string): readonly string[] => answer.headersDistinct[name] ?? [];
  const isBodiless = isHead || answer.statusCode === 204 || answer.statusCode === 304;
  const body = isBodiless ? noBody(answer) : readBody(answer, url, stallMs, signal);
  return {
    status: answer.statusCode ?? 0,
    url,
    header: (name) => headers(name)[0],
    headers,
    body,
    discard: () => discard(body),
  };
}

/** Answers to HEAD and those that nothing has changed may still tell the length of a body. */
// biome-ignore lint/correctness/useYield: there is nothing to give
async function* noBody(answer: IncomingMessage): AsyncGenerator<Uint8Array> {
  answer.resume();
}

/** Longer bodies are not worth reading for the connection's sake. */
const maxDiscardedBytes = 64 << 10;

async function discard(body: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > maxDiscardedBytes) return;
    }
  } catch {
    // Whoever discards an answer has one that matters more.
  }
}

/** Less than this within the stall time is a stall too: a server must not hold us with one byte now and then. */
const minProgressBytes = 16 << 10;

async function* readBody(
  answer: IncomingMessage,
  url: URL,
  stallMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let waitedMs = 0;
  let progress = 0;
  const onArrival = (bytes: number, sinceLastMs: number): void => {
    timer.refresh();
    waitedMs += sinceLastMs;
    progress += bytes;
    if (progress >= minProgressBytes) waitedMs = progress = 0;
    if (waitedMs > stallMs) throw stalled(url, stallMs);
  };
  // While the reader takes its time, the server is not to blame.
  let isHeld = false;
  const timer = setTimeout(() => {
    if (!isHeld) answer.destroy(stalled(url, stallMs));
  }, stallMs);
  const onHold = (held: boolean): void => {
    isHeld = held;
    timer.refresh();
  };
  const length = answer.headers["content-length"];
  const sizeBytes = length === undefined ? undefined : Number(length);
  try {
    yield* bodyPieces(answer, { sizeBytes, onArrival, onHold, answer });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TryAgain) throw error;
    throw networkFailure(url, error);
  } finally {
    clearTimeout(timer);
  }
}

function stalled(url: URL, stallMs: number): TryAgain {
  const message = `${shownUrl(url)} sends nothing, or next to nothing, for ${stallMs / 1000} s (--limit stall-seconds=N)`;
  return new TryAgain(new OciError("transfer-broken", message));
}

const hopeless = /^(?:ENOTFOUND|ERR_TLS|ERR_INVALID|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HPE_)/;

function networkFailure(url: URL, error: unknown): Error {
  const code = codeOf(error);
  if (code === noAnswerCode) {
    const message = `${shownUrl(url)} does not answer: gave up waiting (--limit stall-seconds=N)`;
    return new TryAgain(new OciError("transfer-broken", message, { cause: error }));
  }
  // Node says "aborted" or "socket hang up".
  const what = code === "ECONNRESET" ? "the other side closed the connection" : causeText(innermost(error));
  const failure = new OciError("registry-unreachable", `Cannot talk to ${shownUrl(url)}: ${what}${hint(url, code)}`, {
    cause: error,
  });
  return hopeless.test(code) ? failure : new TryAgain(failure);
}

function hint(url: URL, code: string): string {
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "; is the host name right, and does DNS work here?";
  if (/^(?:CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code)) {
    return "; if the registry uses a certificate authority of its own, give it with --ca FILE";
  }
  if (/^(?:ERR_SSL|EPROTO)/.test(code) && url.protocol === "https:") {
    return `; if the registry speaks plain HTTP, say so with --plain-http ${url.host}`;
  }
  return code === "ECONNREFUSED" ? "; nothing listens there" : "";
}

function codeOf(error: unknown): string {
  const inner = innermost(error);
  return typeof inner === "object" && inner !== null && "code" in inner ? String(inner.code) : "";
}

/** Connecting to several addresses fails with all errors at once; the first tells enough. */
function innermost(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return innermost(error.errors[0]);
  return error;
}
