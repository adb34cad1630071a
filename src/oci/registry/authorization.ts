import type { Credential } from "../credentials/credential.ts";

/** A value for the `Authorization` header, and what of it must never be shown. */
export type Authorization = { readonly header: string; readonly secrets: readonly string[] };

export function basic({ username, password }: Extract<Credential, { kind: "password" }>): Authorization {
  const encoded = Buffer.from(`${username}:${password}`).toString("base64");
  return { header: `Basic ${encoded}`, secrets: [encoded, password] };
}

export function bearer(token: string): Authorization {
  return { header: `Bearer ${token}`, secrets: [token] };
}
