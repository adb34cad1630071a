import { getCACertificates } from "node:tls";
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici";
import { causeText, OciError } from "../oci-error.ts";
import { plainTls, type TlsSettings } from "./endpoint.ts";
import { TryAgain } from "./retry.ts";

export type TransportOptions = {
  /** PEM, trusted for every server. */
  readonly authorities: readonly string[];
  /** Time without headers, or without progress in a body. */
  readonly stallMs: number;
  readonly userAgent: string;
  /** For `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. */
  readonly environment: NodeJS.ProcessEnv;
};

export type HttpRequest = {
  readonly method: "GET" | "POST";
  readonly url: URL;
  /** Sent to the origin of `url` only, not to where it redirects. */
  readonly privateHeaders: Readonly<Record<string, string | string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly tls: TlsSettings;
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
const connectTimeoutMs = 30_000;

/** Sends requests and follows redirects, with what may go where decided here and nowhere else. */
export class Transport {
  readonly #options: TransportOptions;
  readonly #dispatchers = new Map<TlsSettings, Dispatcher>();

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
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined || request.method !== "GET") {
        return answer;
      }
      await answer.discard();
      url = redirected(request.url, url, location);
    }
    throw new OciError("redirect-refused", `${shownUrl(request.url)} redirects more than ${maxRedirects} times`);
  }

  async close(): Promise<void> {
    const open = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(open.map((dispatcher) => dispatcher.destroy()));
  }

  async #sendOnce(
    request: HttpRequest,
    url: URL,
    headers: Record<string, string | string[]>,
    tls: TlsSettings,
  ): Promise<HttpAnswer> {
    const { method, signal, body } = request;
    try {
      const answer = await this.#dispatcher(tls).request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: { "user-agent": this.#options.userAgent, "accept-encoding": "identity", ...headers },
        signal,
        ...(body !== undefined && { body }),
      });
      return toAnswer(answer, url, this.#options.stallMs, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw networkFailure(url, error);
    }
  }

  #dispatcher(tls: TlsSettings): Dispatcher {
    let dispatcher = this.#dispatchers.get(tls);
    if (!dispatcher) {
      dispatcher = this.#makeDispatcher(tls);
      this.#dispatchers.set(tls, dispatcher);
    }
    return dispatcher;
  }

  #makeDispatcher(tls: TlsSettings): Dispatcher {
    const { stallMs, environment } = this.#options;
    const authorities = [...this.#options.authorities, ...tls.authorities];
    const connect = {
      timeout: Math.min(connectTimeoutMs, stallMs),
      ca: [...new Set([...getCACertificates("default"), ...getCACertificates("system"), ...authorities])],
      ...(tls.client.length > 0 && {
        cert: tls.client.map((each) => each.certificate),
        key: tls.client.map((each) => each.key),
      }),
      ...(tls.skipVerify && { rejectUnauthorized: false }),
    };
    const options = { connect, requestTls: connect, headersTimeout: stallMs, bodyTimeout: stallMs, allowH2: false };
    const httpsProxy = environment.HTTPS_PROXY || environment.https_proxy;
    const httpProxy = environment.HTTP_PROXY || environment.http_proxy;
    if (!httpsProxy && !httpProxy) return new Agent(options);
    const noProxy = [environment.NO_PROXY || environment.no_proxy, "localhost", "127.0.0.1", "::1"];
    return new EnvHttpProxyAgent({
      ...options,
      httpProxy: httpProxy ?? "",
      httpsProxy: httpsProxy ?? "",
      noProxy: noProxy.filter(Boolean).join(","),
    });
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

function toAnswer(answer: Dispatcher.ResponseData, url: URL, stallMs: number, signal: AbortSignal): HttpAnswer {
  const headers = (name: string): readonly string[] => {
    const value = answer.headers[name];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  };
  return {
    status: answer.statusCode,
    url,
    header: (name) => headers(name)[0],
    headers,
    body: readBody(answer, url, stallMs, signal),
    discard: () => answer.body.dump({ limit: 64 << 10 }).catch(() => {}),
  };
}

/** Less than this within the stall time is a stall too: a server must not hold us with one byte now and then. */
const minProgressBytes = 16 << 10;

async function* readBody(
  answer: Dispatcher.ResponseData,
  url: URL,
  stallMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let waitedMs = 0;
  let progress = 0;
  let since = performance.now();
  try {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      waitedMs += performance.now() - since;
      progress += chunk.length;
      if (progress >= minProgressBytes) waitedMs = progress = 0;
      if (waitedMs > stallMs) throw stalled(url, stallMs);
      yield chunk;
      since = performance.now();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TryAgain) throw error;
    throw networkFailure(url, error);
  }
}

function stalled(url: URL, stallMs: number): TryAgain {
  const message = `${shownUrl(url)} sends nothing, or next to nothing, for ${stallMs / 1000} s (--limit stall-seconds=N)`;
  return new TryAgain(new OciError("transfer-broken", message));
}

const hopeless = /^(?:ENOTFOUND|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_INVALID|UND_ERR_INVALID|HPE_)/;
const timeouts = ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT"];

function networkFailure(url: URL, error: unknown): Error {
  const code = codeOf(error);
  if (timeouts.includes(code)) {
    const what = code === "UND_ERR_BODY_TIMEOUT" ? "stopped sending" : "does not answer";
    const message = `${shownUrl(url)} ${what}: gave up waiting (--limit stall-seconds=N)`;
    return new TryAgain(new OciError("transfer-broken", message, { cause: error }));
  }
  const failure = new OciError(
    "registry-unreachable",
    `Cannot talk to ${shownUrl(url)}: ${causeText(innermost(error))}${hint(url, code)}`,
    { cause: error },
  );
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
