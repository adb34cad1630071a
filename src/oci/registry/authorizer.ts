import { type Credential, type CredentialLookup, isRefused } from "../credentials/credential.ts";
import { OciError } from "../oci-error.ts";
import { type Authorization, basic, bearer } from "./authorization.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Endpoint, endpointHost } from "./endpoint.ts";
import { fetchToken, secretsOf } from "./token.ts";
import type { HttpAnswer, Transport } from "./transport.ts";

/** A token this close to its end is not used any more. */
const expiryMarginMs = 10_000;
/** Passwords are looked up again after so long, as they may have changed where they are kept. */
const maxPasswordAgeMs = 5 * 60_000;
/** So many credentials are tried for one request. */
const maxCredentials = 4;

/** What lets a request in. */
export type Grant = Authorization & {
  readonly expiresAtMs: number;
  readonly credential: Credential | undefined;
  /** False for the request that it was made for. */
  readonly isKept: boolean;
};

/** A request that was answered with 401. */
export type Refusal = {
  /** What it was sent with. */
  readonly grant: Grant | undefined;
  /** Credentials that did not help this request. */
  readonly refused: Credential[];
  /** So many answers with 401 came before. */
  readonly round: number;
};

/** Learns from a server's challenges how to be let in, and keeps tokens until they expire. */
export class Authorizer {
  readonly #transport: Transport;
  readonly #lookup: CredentialLookup;
  readonly #challenges = new Map<string, Challenge>();
  readonly #grants = new Map<string, Promise<Grant | undefined>>();

  constructor(transport: Transport, lookup: CredentialLookup) {
    this.#transport = transport;
    this.#lookup = lookup;
  }

  /**
   * What to send with a request for `repository`; nothing before the server's first challenge, nor where all that is known is in `refused`,
   * to which credentials are added that a token server does not take.
   */
  async grant(
    endpoint: Endpoint,
    repository: string,
    refused: Credential[],
    signal: AbortSignal,
  ): Promise<Grant | undefined> {
    const challenge = this.#challenges.get(endpoint.origin);
    if (!challenge) return undefined;
    const key = `${endpoint.origin} ${repository}`;
    const last = this.#grants.get(key);
    if (refused.length === 0 && last) {
      // A failure belongs to the request that caused it; this one tries by itself.
      const kept = await last.catch(() => undefined);
      if (kept && kept.expiresAtMs - expiryMarginMs > Date.now()) return { ...kept, isKept: true };
      const other = this.#grants.get(key);
      if (other && other !== last) return other;
    }
    const pending = this.#newGrant(endpoint, repository, challenge, refused, signal);
    this.#grants.set(key, pending);
    return pending;
  }

  /** Takes note of a 401 answer. False: asking again would not help. Throws `OciError` when the server wants what we cannot give. */
  challenged(endpoint: Endpoint, repository: string, answer: HttpAnswer, { grant, refused, round }: Refusal): boolean {
    const challenges = parseChallenges(answer.headers("www-authenticate"));
    const challenge =
      challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm")) ??
      challenges.find(({ scheme }) => scheme === "basic");
    this.#grants.delete(`${endpoint.origin} ${repository}`);
    if (!challenge) return false;
    this.#challenges.set(endpoint.origin, challenge);
    // Without a grant nothing was tried yet; one that was kept may have ended before its time.
    if (!grant || grant.isKept) return round < 2;
    if (!grant.credential) return false;
    refused.push(grant.credential);
    return refused.length < maxCredentials;
  }

  async #newGrant(
    endpoint: Endpoint,
    repository: string,
    challenge: Challenge,
    refused: Credential[],
    signal: AbortSignal,
  ): Promise<Grant | undefined> {
    let failure: unknown;
    while (refused.length < maxCredentials) {
      const credential = await this.#lookup(endpointHost(endpoint), repository, signal, refused);
      if ((!credential || isRefused(credential, refused)) && refused.length > 0) break;
      if (challenge.scheme === "basic" && credential?.kind !== "password") throw missingCredentials(endpoint);
      const kept = { credential, isKept: false };
      const passwordEndMs = Date.now() + maxPasswordAgeMs;
      if (challenge.scheme === "basic" && credential?.kind === "password") {
        return {
          ...kept,
          ...basic(credential),
          expiresAtMs: Math.min(credential.expiresAtMs ?? passwordEndMs, passwordEndMs),
        };
      }
      if (credential?.kind === "registry-token") {
        return { ...kept, ...bearer(credential.token), expiresAtMs: passwordEndMs };
      }
      try {
        const scope = `repository:${repository}:pull`;
        const token = await fetchToken(this.#transport, { endpoint, challenge, credential, scope, signal });
        // A server may show the password that it got for the token, too.
        const secrets = [token.value, ...secretsOf(credential)];
        return { ...kept, ...bearer(token.value), secrets, expiresAtMs: token.expiresAtMs };
      } catch (error) {
        const isRefusal = error instanceof OciError && (error.code === "unauthorized" || error.code === "denied");
        if (!isRefusal || !credential) throw error;
        refused.push(credential);
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  }
}

function missingCredentials(endpoint: Endpoint): OciError {
  const host = endpointHost(endpoint);
  return new OciError(
    "unauthorized",
    `${host} wants a user name and password, and none are known for it; log in with docker login ${host} or give --authfile`,
  );
}
