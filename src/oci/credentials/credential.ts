/** What lets us into a registry. */
export type Credential =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, exchanged for access tokens at the token server. */
  | { readonly kind: "identity-token"; readonly token: string }
  /** An access token as it is. */
  | { readonly kind: "registry-token"; readonly token: string };

/** Finds the credential for a registry host (`docker.io`, `host:port`) and a repository in it. Throws `OciError`. */
export type CredentialLookup = (
  host: string,
  repository: string,
  signal: AbortSignal,
) => Promise<Credential | undefined>;

/** The first of `lookups` that knows one. */
export function firstOf(lookups: readonly CredentialLookup[]): CredentialLookup {
  return async (host, repository, signal) => {
    for (const lookup of lookups) {
      const found = await lookup(host, repository, signal);
      if (found) return found;
    }
    return undefined;
  };
}
