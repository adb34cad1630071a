import type { Credential } from "../credentials/credential.ts";
import { number, object, optional, readShape, string } from "../json-shape.ts";
import { OciError } from "../oci-error.ts";
import { basic } from "./authorization.ts";
import type { Challenge } from "./challenge.ts";
import { type Endpoint, plainTls } from "./endpoint.ts";
import { readAtMost } from "./read-at-most.ts";
import { registryFailure } from "./registry-failure.ts";
import { type HttpRequest, shownUrl, type Transport } from "./transport.ts";

export type TokenRequest = {
  readonly endpoint: Endpoint;
  /** A Bearer challenge with a realm. */
  readonly challenge: Challenge;
  readonly credential: Credential | undefined;
  readonly scope: string;
  readonly signal: AbortSignal;
};

export type Token = { readonly value: string; readonly expiresAtMs: number };

const maxAnswerBytes = 1 << 20;
/** Distribution's token spec: "if omitted, this defaults to 60 seconds". */
const defaultLifetimeSeconds = 60;
const clientId = "nodewarm";

const answerShape = object({
  token: optional(string),
  access_token: optional(string),
  expires_in: optional(number),
});

/**
 * A token for `scope` by Docker's token authentication: GET with Basic or without credentials, or the OAuth2 form POST where
 * the credential is an identity token. Throws `OciError`, `TryAgain`.
 */
export async function fetchToken(transport: Transport, request: TokenRequest): Promise<Token> {
  const realm = realmUrl(request);
  const isSameOrigin = realm.origin === request.endpoint.origin;
  const { credential, signal } = request;
  const { tls, proxy } = request.endpoint;
  const common = { headers: {}, tls: isSameOrigin ? tls : plainTls, proxy, signal };
  const http: HttpRequest =
    credential?.kind === "identity-token"
      ? { ...common, ...oauthForm(realm, request, credential.token) }
      : { ...common, ...tokenQuery(realm, request, credential?.kind === "password" ? credential : undefined) };
  const answer = await transport.send(http);
  const what = `a token to read ${request.scope.split(":")[1]}`;
  if (answer.status < 200 || answer.status > 299) throw await registryFailure(answer, what, secretsOf(credential));
  const bytes = await readAtMost(answer.body, maxAnswerBytes, () => badAnswer(realm, "is larger than 1 MiB"));
  return parseToken(bytes, realm);
}

function realmUrl({ challenge, endpoint }: TokenRequest): URL {
  const text = challenge.parameters.get("realm") ?? "";
  let realm: URL;
  try {
    realm = new URL(text, endpoint.origin);
  } catch {
    throw new OciError("registry-protocol", `${endpoint.origin} names a token server that is no URL`);
  }
  if (realm.protocol !== "https:" && realm.protocol !== "http:") {
    throw new OciError("registry-protocol", `${endpoint.origin} names a token server that is not http or https`);
  }
  if (realm.protocol === "http:" && endpoint.origin.startsWith("https:")) {
    const message = `${endpoint.origin} wants credentials sent to ${realm.host} over plain http; refusing`;
    throw new OciError("registry-protocol", message);
  }
  return realm;
}

function tokenQuery(
  realm: URL,
  request: TokenRequest,
  credential: Extract<Credential, { kind: "password" }> | undefined,
): Pick<HttpRequest, "method" | "url" | "privateHeaders"> {
  const url = new URL(realm);
  const service = request.challenge.parameters.get("service");
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.append("scope", request.scope);
  if (credential) url.searchParams.set("account", credential.username);
  return { method: "GET", url, privateHeaders: credential ? { authorization: basic(credential).header } : {} };
}

function oauthForm(
  realm: URL,
  request: TokenRequest,
  identityToken: string,
): Pick<HttpRequest, "method" | "url" | "privateHeaders" | "body"> {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: identityToken,
    client_id: clientId,
    scope: request.scope,
  });
  const service = request.challenge.parameters.get("service");
  if (service !== undefined) form.set("service", service);
  const privateHeaders = { "content-type": "application/x-www-form-urlencoded" };
  return { method: "POST", url: realm, privateHeaders, body: form.toString() };
}

function parseToken(bytes: Uint8Array, realm: URL): Token {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw badAnswer(realm, "is not JSON");
  }
  const answer = readShape(answerShape, value).value;
  const token = answer?.token || answer?.access_token;
  if (!token) throw badAnswer(realm, "has no token");
  // What could not stand in a header would be refused further down with a message that shows it.
  if (!/^[\x21-\x7e]+$/.test(token)) throw badAnswer(realm, "has a token with characters that no header can hold");
  const seconds = answer?.expires_in;
  const lifetime = seconds !== undefined && seconds > 0 ? seconds : defaultLifetimeSeconds;
  return { value: token, expiresAtMs: Date.now() + lifetime * 1000 };
}

function badAnswer(realm: URL, why: string): OciError {
  return new OciError("registry-protocol", `The answer of the token server ${shownUrl(realm)} ${why}`);
}

/** What of a credential must never be shown, in all forms in which it is sent. */
export function secretsOf(credential: Credential | undefined): string[] {
  if (!credential) return [];
  return credential.kind === "password" ? [...basic(credential).secrets] : [credential.token];
}
