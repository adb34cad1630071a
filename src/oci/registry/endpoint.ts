/** One server that may answer for a registry: the registry itself or a mirror of it. */
export type Endpoint = {
  /** `https://host[:port]`, without a slash at the end. */
  readonly origin: string;
  /** Prefix of all paths: `/v2`. */
  readonly apiPath: string;
  /** May turn tags into digests. */
  readonly resolves: boolean;
  /** May serve content by digest. */
  readonly pulls: boolean;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly tls: TlsSettings;
  /** Value of the `ns` parameter for a mirror: the registry it stands for. */
  readonly namespace: string | undefined;
  /** Where `origin` is https and the server turns out not to speak TLS, it is asked by plain HTTP instead. */
  readonly fallsBackToHttp?: boolean;
  /** URL of the proxy for it and for where it redirects to, or `none`. Default: what the environment says. */
  readonly proxy?: string;
};

/** Knows the servers for a repository, in the order in which they are asked. */
export type EndpointSource = {
  /** Repositories with the same key have the same servers. */
  key(repository: Repository): string;
  /** Throws `OciError` (invalid-configuration). */
  load(repository: Repository): Promise<readonly Endpoint[]>;
};

/** A repository in a registry. */
export type Repository = { readonly host: string; readonly path: string };

/** For connections to one endpoint only; never for where it redirects to. */
export type TlsSettings = {
  /** PEM, in addition to the certificates that are trusted anyway. */
  readonly authorities: readonly string[];
  /** PEM. */
  readonly client: readonly { readonly certificate: string; readonly key: string }[];
  readonly skipVerify: boolean;
};

export const plainTls: TlsSettings = { authorities: [], client: [], skipVerify: false };

/** The host by which credentials for an endpoint are looked up. */
export function endpointHost(endpoint: Endpoint): string {
  const { host } = new URL(endpoint.origin);
  return host === dockerHubServer ? "docker.io" : host;
}

const dockerHubServer = "registry-1.docker.io";

/**
 * Where a registry is when nothing else is configured, as containerd has it: Docker Hub's server for `docker.io`; https,
 * but http for loopback hosts (unless on port 443) and for `plainHttp` hosts. Where the user gave certificate authorities,
 * a loopback host is asked by https first.
 */
export function defaultEndpoints(host: string, plainHttp: readonly string[], hasAuthorities: boolean): Endpoint[] {
  const server = host === "docker.io" ? dockerHubServer : host;
  const endpoint = (scheme: string): Endpoint => ({
    origin: `${scheme}://${server}`,
    apiPath: "/v2",
    resolves: true,
    pulls: true,
    headers: {},
    tls: plainTls,
    namespace: undefined,
  });
  if (plainHttp.includes(host)) return [endpoint("http")];
  if (!isLoopback(host) || host.endsWith(":443")) return [endpoint("https")];
  return hasAuthorities ? [endpoint("https"), endpoint("http")] : [endpoint("http")];
}

/**
 * The same as containerd has it for a pull (`core/remotes/docker/config/hosts.go`, ConfigureHosts): a loopback host is asked by https
 * without a look at its certificate, and by plain HTTP where it speaks no TLS; only by https without a port or on 443, only by HTTP on 80.
 */
export function runtimeEndpoint(host: string): Endpoint {
  const endpoint = { apiPath: "/v2", resolves: true, pulls: true, headers: {}, namespace: undefined };
  if (!isLoopback(host)) {
    const server = host === "docker.io" ? dockerHubServer : host;
    return { ...endpoint, origin: `https://${server}`, tls: plainTls };
  }
  if (host.endsWith(":80")) return { ...endpoint, origin: `http://${host}`, tls: plainTls };
  const isTlsOnly = !/:\d+$/.test(host) || host.endsWith(":443");
  const tls = { ...plainTls, skipVerify: true };
  return { ...endpoint, origin: `https://${host}`, tls, ...(!isTlsOnly && { fallsBackToHttp: true }) };
}

/** `host` may have a port. */
function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
