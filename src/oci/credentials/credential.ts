/** What lets us into a registry. */
export type Credential =
  | {
      readonly kind: "password";
      readonly username: string;
      readonly password: string;
      /** Milliseconds since 1970, where it is known to end. */
      readonly expiresAtMs?: number;
    }
  /** An OAuth2 refresh token, exchanged for access tokens at the token server. */
  | { readonly kind: "identity-token"; readonly token: string }
  /** An access token as it is. */
  | { readonly kind: "registry-token"; readonly token: string };

/**
 * Finds the credential for a registry host (`docker.io`, `host:port`) and a repository in it. None of `refused`, which the registry has just
 * not accepted: what was kept is asked for anew, and the next one that fits is given. Throws `OciError`.
 */
export type CredentialLookup = (
  host: string,
  repository: string,
  signal: AbortSignal,
  refused?: readonly Credential[],
) => Promise<Credential | undefined>;

/** The first of `lookups` that knows one. */
export function firstOf(lookups: readonly CredentialLookup[]): CredentialLookup {
  return async (host, repository, signal, refused = []) => {
    for (const lookup of lookups) {
      const found = await lookup(host, repository, signal, refused);
      if (found && !isRefused(found, refused)) return found;
    }
    return undefined;
  };
}

export function isRefused(credential: Credential, refused: readonly Credential[]): boolean {
  return refused.some((each) => {
    if (each.kind === "password" && credential.kind === "password") {
      return each.username === credential.username && each.password === credential.password;
    }
    return each.kind === credential.kind && "token" in each && "token" in credential && each.token === credential.token;
  });
}
