import { OciError } from "../oci-error.ts";
import { defaultEndpoints, type Endpoint } from "./endpoint.ts";
import { configuredEndpoints } from "./hosts-toml.ts";
import { TryAgain } from "./retry.ts";

export type EndpointOptions = {
  readonly plainHttp: readonly string[];
  readonly hasAuthorities: boolean;
  /** containerd's registry configuration: `DIR/<host>/hosts.toml`. */
  readonly hostsDirectory: string | undefined;
};

/** A mirror that failed is left alone for this long. */
const restMs = 30_000;

/** Knows the servers for each registry host, and which of them failed lately. */
export class EndpointDirectory {
  readonly #options: EndpointOptions;
  readonly #endpoints = new Map<string, Promise<readonly Endpoint[]>>();
  readonly #restingUntilMs = new Map<Endpoint, number>();

  constructor(options: EndpointOptions) {
    this.#options = options;
  }

  /**
   * Lets each server for `host` that has the capability `need` try `work`, in their order, until one succeeds; failures that
   * a later server makes good do not matter. Throws the failure of the last one.
   */
  async firstWorking<T>(
    host: string,
    need: "resolves" | "pulls",
    signal: AbortSignal,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const able = (await this.#for(host)).filter((endpoint) => endpoint[need]);
    const last = able.at(-1);
    if (!last) {
      const capability = need === "pulls" ? "pull" : "resolve";
      throw new OciError("invalid-configuration", `No server for ${host} has the capability "${capability}"`);
    }
    let earlier: string | undefined;
    for (const endpoint of able) {
      if (endpoint !== last && this.#isResting(endpoint)) continue;
      try {
        return await work(endpoint);
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
    if (!passing) this.#restingUntilMs.set(endpoint, performance.now() + restMs);
  }

  #isResting(endpoint: Endpoint): boolean {
    return (this.#restingUntilMs.get(endpoint) ?? 0) > performance.now();
  }

  #for(host: string): Promise<readonly Endpoint[]> {
    let endpoints = this.#endpoints.get(host);
    if (!endpoints) {
      endpoints = this.#load(host);
      this.#endpoints.set(host, endpoints);
    }
    return endpoints;
  }

  async #load(host: string): Promise<readonly Endpoint[]> {
    const { hostsDirectory, plainHttp, hasAuthorities } = this.#options;
    const fallback = defaultEndpoints(host, plainHttp, hasAuthorities);
    const configured =
      hostsDirectory === undefined ? undefined : await configuredEndpoints(hostsDirectory, host, fallback);
    return configured ?? fallback;
  }
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
