import { type Digest, isDigest } from "./descriptor.ts";
import { OciError } from "./oci-error.ts";

/** Where an image is: `host/repository` and a tag, a digest, or both. */
export type Reference = {
  /** Registry as written in normalised names: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly host: string;
  /** Path in the registry: `library/nginx`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
};

/** Grammar of github.com/distribution/reference 0.6 (docker, containerd, crictl). */
const hostName = /(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])/.source;
const host = `(?:${hostName}(?:\\.${hostName})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const hostPattern = new RegExp(`^${host}$`);
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const maxRepositoryLength = 255;
/** Longest text worth parsing; nothing valid is longer. */
const maxTextLength = 1024;

/**
 * Parses and normalises an image reference as docker, containerd and crictl do: `nginx` is `docker.io/library/nginx:latest`,
 * `index.docker.io` is `docker.io`. `latest` is only added where there is neither tag nor digest.
 * Throws `OciError` (invalid-reference).
 */
export function parseReference(text: string): Reference {
  if (text.length === 0) throw refusal(text, "it is empty");
  if (text.length > maxTextLength) throw refusal(text, "it is too long");
  if (/^[0-9a-f]{64}$/.test(text)) throw refusal(text, "64 hex digits would be an image ID, not a name");
  if (/^[a-z][a-z0-9+]*:\/\//i.test(text)) throw refusal(text, "write it without the scheme");

  const at = text.indexOf("@");
  const named = at < 0 ? text : text.slice(0, at);
  const digest = at < 0 ? undefined : parseDigest(text, text.slice(at + 1));
  const { registry, rest } = splitHost(named);
  const colon = rest.indexOf(":");
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);

  if (!hostPattern.test(registry)) throw refusal(text, `"${registry}" is no registry host`);
  if (path !== path.toLowerCase()) throw refusal(text, "the repository name must be lower case");
  if (!repositoryPattern.test(path)) throw refusal(text, `"${path}" is no repository name`);
  if (tag !== undefined && !tagPattern.test(tag)) throw refusal(text, `"${tag}" is no tag`);
  const normalHost = registry === "index.docker.io" ? "docker.io" : registry;
  const repository = normalHost === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  if (repository.length > maxRepositoryLength) {
    throw refusal(text, `the repository name is longer than ${maxRepositoryLength} characters`);
  }
  const implied = tag === undefined && digest === undefined ? "latest" : tag;
  return {
    host: normalHost,
    repository,
    ...(implied !== undefined && { tag: implied }),
    ...(digest !== undefined && { digest }),
  };
}

/** `host/repository[:tag][@digest]`; the inverse of `parseReference` for normalised references. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${reference.host}/${reference.repository}${tag}${digest}`;
}

/**
 * The name under which a node looks for the image: with a digest the tag does not count, as in containerd's CRI plugin, where
 * `nginx:1.25@sha256:…` is `docker.io/library/nginx@sha256:…`.
 */
export function imageName(reference: Reference): string {
  const { host, repository, tag, digest } = reference;
  return formatReference(
    digest === undefined ? { host, repository, tag: tag ?? "latest" } : { host, repository, digest },
  );
}

/** The first part is a registry only if it could not be the first part of a repository on Docker Hub. */
function splitHost(named: string): { registry: string; rest: string } {
  const slash = named.indexOf("/");
  const first = named.slice(0, Math.max(slash, 0));
  const isHost = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  return isHost ? { registry: first, rest: named.slice(slash + 1) } : { registry: "docker.io", rest: named };
}

function parseDigest(text: string, digest: string): Digest {
  if (isDigest(digest)) return digest;
  if (!digestPattern.test(digest)) throw refusal(text, `"${digest}" is no digest`);
  throw refusal(
    text,
    digest.startsWith("sha256:") ? "a sha256 digest has 64 lower-case hex digits" : "only sha256 digests are supported",
  );
}

function refusal(text: string, reason: string): OciError {
  const shown = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return new OciError("invalid-reference", `Cannot use image reference "${shown}": ${reason}`);
}
