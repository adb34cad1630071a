import { readdir } from "node:fs/promises";
import { BlockList, isIP } from "node:net";
import { join } from "node:path";
import { printable } from "../../../oci/oci-error.ts";
import { type Endpoint, plainTls, runtimeEndpoint } from "../../../oci/registry/endpoint.ts";
import { configuredEndpoints, withCertificateFiles } from "../../../oci/registry/hosts-toml.ts";
import type { DockerRegistries } from "./docker-registries.ts";

/** How a Docker daemon reaches servers. */
export type DockerServers = {
  readonly registries: DockerRegistries;
  /** Whether hosts.toml counts beside the files of certificates: where images are kept in containerd (moby `daemon/hosts.go`). */
  readonly readsHostsFiles: boolean;
  /** A path that the daemon sees, as this program reaches it. */
  local(path: string): string;
  /** Addresses of a host; none when they are not to be had. */
  addressesOf(name: string): Promise<readonly string[]>;
};

/** Where dockerd looks for certificates of servers, in folders with their names. */
const certificatesFolder = "/etc/docker/certs.d";

/**
 * The servers for `host` as dockerd has them (moby `registry/service_v2.go`, `daemon/hosts.go`): for Docker Hub the mirrors before it; https with
 * the certificates of the server's folder; without a look at certificates, and by plain HTTP where a server speaks no TLS, for those that are
 * configured as insecure. Throws `OciError` (invalid-configuration) for a file that cannot be read.
 */
export async function dockerEndpoints(
  servers: DockerServers,
  host: string,
  onProblem: (message: string) => void,
): Promise<readonly Endpoint[]> {
  const { registries, readsHostsFiles, local } = servers;
  const own = { ...runtimeEndpoint(host), tls: plainTls };
  const folders = { directories: [certificatesFolder], local, onProblem };
  const named = readsHostsFiles ? await configuredEndpoints(folders, host, [own]) : undefined;
  if (named !== undefined && named.length > 1) return named;
  const server = await asConfigured(servers, named?.[0] ?? own, host);
  if (host !== "docker.io") return [server];
  const mirrors: Endpoint[] = [];
  for (const text of registries.mirrors) {
    const mirror = mirrorEndpoint(text, host, readsHostsFiles);
    if (mirror === undefined) onProblem("a mirror of Docker (registry-mirrors) is no URL of a server");
    else mirrors.push(await asConfigured(servers, mirror, serverName(text)));
  }
  return [...mirrors, server];
}

/** With what is said of the server: `name`, its `host[:port]`. */
async function asConfigured(servers: DockerServers, endpoint: Endpoint, name: string): Promise<Endpoint> {
  const { fallsBackToHttp: _, ...plain } = endpoint;
  if (!(await isSecure(servers, name)))
    return {
      ...plain,
      origin: plain.namespace === undefined ? plain.origin.replace(/^http:/, "https:") : plain.origin,
      tls: { ...plain.tls, skipVerify: true },
      fallsBackToHttp: true,
    };
  if (servers.readsHostsFiles && plain.namespace === undefined) return plain;
  const folder = servers.local(join(certificatesFolder, name));
  const files = await readdir(folder).catch(() => []);
  const [withFiles = plain] = await withCertificateFiles(folder, files, [plain]);
  return withFiles;
}

async function isSecure({ registries, addressesOf }: DockerServers, name: string): Promise<boolean> {
  const said = registries.isSecure.get(name);
  if (said !== undefined) return said;
  const host = (/^(.*):\d+$/.exec(name)?.[1] ?? name).replace(/^\[(.*)\]$/, "$1");
  const addresses = isIP(host) === 0 ? await addressesOf(host) : [host];
  const blocks = new BlockList();
  for (const block of registries.insecureBlocks) {
    const [address = "", bits] = block.split("/");
    blocks.addSubnet(address, Number(bits), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return !addresses.some((address) => blocks.check(address, isIP(address) === 6 ? "ipv6" : "ipv4"));
}

/** By the scheme of its URL; https where it has none. `undefined` for what is no URL of a server. */
function mirrorEndpoint(text: string, host: string, isInContainerd: boolean): Endpoint | undefined {
  const url = URL.parse(/^https?:\/\//i.test(text) ? text : `https://${text}`);
  if (url === null || `${url.username}${url.password}${url.search}${url.hash}` !== "") return undefined;
  if (printable(text, text.length) !== text) return undefined;
  const path = url.pathname.replace(/\/+$/, "");
  return {
    origin: url.origin,
    apiPath: path.endsWith("/v2") ? path : isInContainerd ? `/v2${path}` : `${path}/v2`,
    resolves: true,
    pulls: true,
    headers: {},
    tls: plainTls,
    namespace: host,
  };
}

/** `host[:port]` of a URL, with a port that is its scheme's own, too. */
function serverName(url: string): string {
  return /^(?:https?:\/\/)?([^/]*)/i.exec(url)?.[1] ?? "";
}
