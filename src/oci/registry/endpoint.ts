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
};

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

/** `host` may have a port. */
function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
