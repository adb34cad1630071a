import type { CredentialLookup } from "../credentials/credential.ts";
import { OciError } from "../oci-error.ts";
import { type Authorization, basic, bearer } from "./authorization.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Endpoint, endpointHost } from "./endpoint.ts";
import { fetchToken, type Token } from "./token.ts";
import type { HttpAnswer, Transport } from "./transport.ts";

/** A token this close to its end is not used any more. */
const expiryMarginMs = 10_000;

/** Learns from a server's challenges how to be let in, and keeps tokens until they expire. */
export class Authorizer {
  readonly #transport: Transport;
  readonly #lookup: CredentialLookup;
  readonly #challenges = new Map<string, Challenge>();
  readonly #grants = new Map<string, Promise<Authorization & { readonly expiresAtMs: number }>>();

  constructor(transport: Transport, lookup: CredentialLookup) {
    this.#transport = transport;
    this.#lookup = lookup;
  }

  /** What to send with a request for `repository`; nothing before the server's first challenge. */
  async authorization(endpoint: Endpoint, repository: string, signal: AbortSignal): Promise<Authorization | undefined> {
    const challenge = this.#challenges.get(endpoint.origin);
    if (!challenge) return undefined;
    const key = `${endpoint.origin} ${repository}`;
    const known = this.#grants.get(key);
    if (known) {
      // A failure belongs to the request that caused it; this one tries by itself.
      const grant = await known.catch(() => undefined);
      if (grant && grant.expiresAtMs - expiryMarginMs > Date.now()) return grant;
      if (this.#grants.get(key) === known) this.#grants.delete(key);
    }
    const pending = this.#grants.get(key) ?? this.#grant(endpoint, repository, challenge, signal);
    this.#grants.set(key, pending);
    return pending;
  }

  /**
   * Takes note of a 401 answer to a request that was sent with `used`. False: asking again would not help.
   * Throws `OciError` when the server wants what we cannot give.
   */
  challenged(endpoint: Endpoint, repository: string, answer: HttpAnswer, isRepeated: boolean): boolean {
    const challenges = parseChallenges(answer.headers("www-authenticate"));
    const challenge =
      challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm")) ??
      challenges.find(({ scheme }) => scheme === "basic");
    this.#grants.delete(`${endpoint.origin} ${repository}`);
    if (!challenge || isRepeated) return false;
    this.#challenges.set(endpoint.origin, challenge);
    return true;
  }

  async #grant(
    endpoint: Endpoint,
    repository: string,
    challenge: Challenge,
    signal: AbortSignal,
  ): Promise<Authorization & { expiresAtMs: number }> {
    const credential = await this.#lookup(endpointHost(endpoint), repository, signal);
    if (challenge.scheme === "basic") {
      if (credential?.kind !== "password") throw missingCredentials(endpoint);
      return { ...basic(credential), expiresAtMs: Number.POSITIVE_INFINITY };
    }
    if (credential?.kind === "registry-token") {
      return { ...bearer(credential.token), expiresAtMs: Number.POSITIVE_INFINITY };
    }
    const token: Token = await fetchToken(this.#transport, {
      endpoint,
      challenge,
      credential,
      scope: `repository:${repository}:pull`,
      signal,
    });
    return { ...bearer(token.value), expiresAtMs: token.expiresAtMs };
  }
}

function missingCredentials(endpoint: Endpoint): OciError {
  const host = endpointHost(endpoint);
  return new OciError(
    "unauthorized",
    `${host} wants a user name and password, and none are known for it; log in with docker login ${host} or give --authfile`,
  );
}
