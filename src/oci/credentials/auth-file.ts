import { readFile, stat } from "node:fs/promises";
import { object, optional, orAbsent, readShape, record, type Shaped, string } from "../json-shape.ts";
import { causeText, OciError, printable } from "../oci-error.ts";
import type { Credential, CredentialLookup } from "./credential.ts";
import { askCredentialHelper } from "./credential-helper.ts";

export type AuthFileOptions = {
  /** A file the user named must exist. */
  readonly isRequired: boolean;
  /** For credential helpers. */
  readonly environment: NodeJS.ProcessEnv;
};

const entryShape = object({
  auth: optional(string),
  username: optional(string),
  password: optional(string),
  identitytoken: optional(string),
  registrytoken: optional(string),
});
const fileShape = object({
  auths: orAbsent(record(entryShape)),
  credHelpers: orAbsent(record(string)),
  credsStore: orAbsent(string),
});
type Entry = Shaped<typeof entryShape>;
type AuthFile = Shaped<typeof fileShape>;

/** Keys under which Docker Hub's credentials are kept. */
const dockerHubKey = "https://index.docker.io/v1/";
const dockerHubHosts = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/**
 * Credentials from a file in the form of docker's config.json or of containers-auth.json(5): `credHelpers` for the host, then
 * `credsStore`, then `auths`. The file is read when first needed, and again when it has changed.
 */
export function authFile(path: string, options: AuthFileOptions): CredentialLookup {
  let file: { readonly version: string; readonly content: Promise<AuthFile | undefined> } | undefined;
  return async (host, repository, signal) => {
    const version = await fileVersion(path);
    if (file?.version !== version) file = { version, content: readAuthFile(path, options.isRequired) };
    const content = await file.content;
    if (!content) return undefined;
    const server = host === "docker.io" ? dockerHubKey : host;
    const helper = content.credHelpers?.[host] ?? content.credHelpers?.[server];
    const helpers = [...(helper ? [helper] : []), ...(content.credsStore ? [content.credsStore] : [])];
    for (const name of helpers) {
      const found = await askCredentialHelper(name, server, { source: path, environment: options.environment, signal });
      if (found) return found;
    }
    const match = findEntry(content.auths ?? {}, host, repository);
    return match && toCredential(match.entry, path, match.key);
  };
}

/** Changes when the file does; empty where there is none. */
async function fileVersion(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found ? `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}` : "";
}

async function readAuthFile(path: string, isRequired: boolean): Promise<AuthFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
    if (isAbsent && !isRequired) return undefined;
    throw new OciError("credentials-failed", `Cannot read the credentials in ${path}: ${causeText(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Not the parser's message: it quotes the text, which holds secrets.
    throw new OciError("credentials-failed", `${path} is not JSON`);
  }
  const file = readShape(fileShape, value);
  if (!file.problem) return file.value;
  const place = file.problem.path && `${printable(file.problem.path, 300)} `;
  throw new OciError(
    "credentials-failed",
    `${path} is not a file of registry credentials: ${place}${file.problem.message}`,
  );
}

/**
 * The entry with the longest key that is the host or a path prefix of the repository (containers-auth.json(5)). Docker writes
 * keys as `host`, `https://host` and `https://host/v1/`; those mean the whole host.
 */
function findEntry(
  auths: Readonly<Record<string, Entry>>,
  host: string,
  repository: string,
): { key: string; entry: Entry } | undefined {
  let best: { key: string; entry: Entry; length: number } | undefined;
  for (const [key, entry] of Object.entries(auths)) {
    const scope = scopeOf(key);
    const wanted = `${host}/${repository}`;
    if (wanted !== scope && !wanted.startsWith(`${scope}/`)) continue;
    if (!best || scope.length > best.length) best = { key, entry, length: scope.length };
  }
  return best;
}

function scopeOf(key: string): string {
  const withoutScheme = key.replace(/^https?:\/\//, "");
  const isUrl = withoutScheme !== key;
  const scope = isUrl ? withoutScheme.replace(/\/.*$/, "") : withoutScheme.replace(/(?:\/v[12])?\/*$/, "");
  const [host = "", ...path] = scope.split("/");
  return [dockerHubHosts.includes(host) ? "docker.io" : host, ...path].join("/");
}

function toCredential(entry: Entry, path: string, key: string): Credential | undefined {
  if (entry.registrytoken) return { kind: "registry-token", token: entry.registrytoken };
  if (entry.identitytoken) return { kind: "identity-token", token: entry.identitytoken };
  if (entry.auth) {
    const text = Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = text.indexOf(":");
    if (colon <= 0)
      throw new OciError(
        "credentials-failed",
        `The "auth" of "${printable(key, 300)}" in ${path} is not base64 of user:password`,
      );
    return { kind: "password", username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (entry.username && entry.password !== undefined) {
    return { kind: "password", username: entry.username, password: entry.password };
  }
  return undefined;
}
