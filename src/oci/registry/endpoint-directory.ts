import { OciError } from "../oci-error.ts";
import type { Endpoint, EndpointSource, Repository, TlsSettings } from "./endpoint.ts";
import { TryAgain } from "./retry.ts";

export type EndpointDirectoryOptions = {
  /** What is known is asked for again when it is older. Default: never. */
  readonly reloadAfterMs?: number;
  /** Told of settings that no server has any more. */
  readonly onReplaced?: (tls: TlsSettings) => void;
};

/** A mirror that failed is left alone for this long, or for as long as it asks. */
const restMs = 30_000;

type Known = { readonly endpoints: readonly Endpoint[]; readonly loadedAtMs: number };

/** Knows the servers for each repository, and which of them failed lately. */
export class EndpointDirectory {
  readonly #source: EndpointSource;
  readonly #options: EndpointDirectoryOptions;
  readonly #known = new Map<string, Known>();
  readonly #loading = new Map<string, Promise<readonly Endpoint[]>>();
  readonly #restingUntilMs = new WeakMap<Endpoint, number>();
  readonly #plain = new WeakMap<Endpoint, Endpoint>();
  readonly #originals = new WeakMap<Endpoint, Endpoint>();

  constructor(source: EndpointSource, options: EndpointDirectoryOptions = {}) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * Lets each server for `repository` that has the capability `need` try `work`, in their order, until one succeeds; failures that
   * a later server makes good do not matter. Throws the failure of the last one.
   */
  async firstWorking<T>(
    repository: Repository,
    need: "resolves" | "pulls",
    signal: AbortSignal,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const able = (await this.#for(repository)).filter((endpoint) => endpoint[need]);
    const last = able.at(-1);
    if (!last) {
      const capability = need === "pulls" ? "pull" : "resolve";
      throw new OciError(
        "invalid-configuration",
        `No server for ${repository.host} has the capability "${capability}"`,
      );
    }
    let earlier: string | undefined;
    for (const endpoint of able) {
      if (endpoint !== last && this.#isResting(endpoint)) continue;
      try {
        return await this.#try(endpoint, work);
      } catch (error) {
        signal.throwIfAborted();
        this.setAside(endpoint, error);
        if (endpoint === last) throw withEarlier(error, earlier);
        earlier ??= error instanceof Error ? error.message : String(error);
      }
    }
    throw new Error("unreachable: the last server either works or throws");
  }

  /** Prefers other servers for a while if `error` is of the kind that does not pass at once. */
  setAside(endpoint: Endpoint, error: unknown): void {
    const passing = error instanceof OciError && error.code === "not-found";
    const wishMs = error instanceof TryAgain ? (error.retryAfterMs ?? 0) : 0;
    if (!passing)
      this.#restingUntilMs.set(this.#originals.get(endpoint) ?? endpoint, performance.now() + Math.max(restMs, wishMs));
  }

  /** Asks by plain HTTP where the server is found not to speak TLS and may be asked so. */
  async #try<T>(endpoint: Endpoint, work: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    const plain = this.#plain.get(endpoint);
    if (plain) return work(plain);
    try {
      return await work(endpoint);
    } catch (error) {
      if (!endpoint.fallsBackToHttp) throw error;
      const asPlain = { ...endpoint, origin: endpoint.origin.replace(/^https:/, "http:") };
      if (speaksNoTls(error)) this.#plain.set(endpoint, asPlain);
      // Plain HTTP has another port, where none is named. Nothing is known for the next time: the server may be starting.
      else if (!isRefused(error) || /:\d+$/.test(endpoint.origin)) throw error;
      this.#originals.set(asPlain, endpoint);
      return work(asPlain);
    }
  }

  #isResting(endpoint: Endpoint): boolean {
    return (this.#restingUntilMs.get(endpoint) ?? 0) > performance.now();
  }

  async #for(repository: Repository): Promise<readonly Endpoint[]> {
    const key = this.#source.key(repository);
    const known = this.#known.get(key);
    const { reloadAfterMs = Number.POSITIVE_INFINITY } = this.#options;
    if (known && performance.now() - known.loadedAtMs < reloadAfterMs) return known.endpoints;
    let loading = this.#loading.get(key);
    if (!loading) {
      loading = this.#load(key, repository).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
    }
    return loading;
  }

  async #load(key: string, repository: Repository): Promise<readonly Endpoint[]> {
    const old = this.#known.get(key)?.endpoints ?? [];
    const loaded = await this.#source.load(repository);
    // One that is as before stays the same object: connections and what is known of it go with that.
    const texts = new Map(old.map((endpoint) => [JSON.stringify(endpoint), endpoint]));
    const endpoints = loaded.map((endpoint) => texts.get(JSON.stringify(endpoint)) ?? endpoint);
    for (const { tls } of old) if (!endpoints.some((each) => each.tls === tls)) this.#options.onReplaced?.(tls);
    this.#known.set(key, { endpoints, loadedAtMs: performance.now() });
    return endpoints;
  }
}

/** OpenSSL's words for an answer that is no TLS record, and a handshake that the other side ends or never answers. */
function speaksNoTls(error: unknown): boolean {
  const failure = causeWithCode(error, /^(?:EPROTO|ERR_SSL_)/);
  const words = /wrong version number|packet length too long|http request|record layer|unknown protocol/i;
  return failure !== undefined && words.test(failure.message);
}

function isRefused(error: unknown): boolean {
  return causeWithCode(error, /^ECONNREFUSED$/) !== undefined;
}

function causeWithCode(error: unknown, code: RegExp): Error | undefined {
  for (let at = error; at instanceof Error; at = at instanceof TryAgain ? at.failure : at.cause)
    if ("code" in at && code.test(String(at.code))) return at;
  return undefined;
}

function withEarlier(error: unknown, earlier: string | undefined): unknown {
  if (earlier === undefined) return error;
  if (error instanceof TryAgain) return new TryAgain(withEarlierMessage(error.failure, earlier), error.retryAfterMs);
  return error instanceof Error ? withEarlierMessage(error, earlier) : error;
}

function withEarlierMessage(error: Error, earlier: string): Error {
  if (!(error instanceof OciError)) return error;
  return new OciError(error.code, `${error.message}. Before that: ${earlier}`, { cause: error });
}
