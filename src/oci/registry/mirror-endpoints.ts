import { readFile } from "node:fs/promises";
import type { Credential, CredentialLookup } from "../credentials/credential.ts";
import { causeText, OciError, printable } from "../oci-error.ts";
import { type Endpoint, runtimeEndpoint, type TlsSettings } from "./endpoint.ts";

/** containerd's old form of registry configuration: `registry.mirrors` and `registry.configs` of its CRI plugin. */
export type MirrorTables = {
  /** URLs by registry host, or `*`. */
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
  readonly configs: Readonly<Record<string, MirrorConfig>>;
};

/** What is said of one server, by its `host:port`. Paths are those that containerd sees. */
export type MirrorConfig = {
  readonly skipVerify?: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly auth?: Credential;
};

/**
 * The servers for `host` in that form, as containerd has them (`image_pull.go`, registryHosts and registryEndpoints): the mirrors of the
 * host, or of `*` where it has none, and the registry itself last unless it is among them. A path in a URL is the root of the API.
 * `local` gives paths as this program reaches them. Throws `OciError` (invalid-configuration).
 */
export async function mirrorEndpoints(
  { mirrors, configs }: MirrorTables,
  host: string,
  local: (path: string) => string,
): Promise<readonly Endpoint[]> {
  const own = runtimeEndpoint(host);
  const server = new URL(own.origin).host;
  const isLoopback = own.tls.skipVerify || own.origin.startsWith("http:");
  const named = (Object.hasOwn(mirrors, host) ? mirrors[host] : mirrors["*"]) ?? [];
  const urls = named.map((text) => mirrorUrl(text, host));
  if (!urls.some((url) => url.host === host)) urls.push(new URL(`${isLoopback ? "http" : "https"}://${server}`));
  const endpoints: Endpoint[] = [];
  for (const url of urls) {
    const config = (Object.hasOwn(configs, url.host) && configs[url.host]) || {};
    const path = url.pathname.replace(/\/+$/, "");
    endpoints.push({
      origin: url.origin,
      apiPath: path === "" ? "/v2" : path,
      resolves: true,
      pulls: true,
      headers: {},
      tls: await tlsOf(config, local),
      namespace: url.host === server ? undefined : host,
    });
  }
  return endpoints;
}

/** `auth` of the tables for the server that asks; keys are `host:port` or, for Docker Hub, that of its server. */
export function mirrorCredentials(configs: MirrorTables["configs"]): CredentialLookup {
  return async (host) => {
    const names = host === "docker.io" ? ["docker.io", "registry-1.docker.io"] : [host];
    return names.map((name) => (Object.hasOwn(configs, name) ? configs[name]?.auth : undefined)).find(Boolean);
  };
}

function mirrorUrl(text: string, host: string): URL {
  const isLoopbackName = /^(?:localhost|127\.|\[::1\])/.test(text);
  const url = URL.parse(text.includes("://") ? text : `${isLoopbackName ? "http" : "https"}://${text}`);
  if (url && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "") return url;
  const message = `registry.mirrors of containerd names something for ${host} that is no URL with http or https`;
  throw new OciError("invalid-configuration", printable(message, 500));
}

async function tlsOf(config: MirrorConfig, local: (path: string) => string): Promise<TlsSettings> {
  const { caFile, certFile, keyFile, skipVerify = false } = config;
  const read = async (path: string) => {
    try {
      return await readFile(local(path), "utf8");
    } catch (error) {
      const message = `Cannot read ${printable(path, 500)}, which registry.configs of containerd names: ${causeText(error)}`;
      throw new OciError("invalid-configuration", message, { cause: error });
    }
  };
  const client = certFile && keyFile ? [{ certificate: await read(certFile), key: await read(keyFile) }] : [];
  return { authorities: caFile ? [await read(caFile)] : [], client, skipVerify };
}
