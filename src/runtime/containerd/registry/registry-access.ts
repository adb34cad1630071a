import type { Credential } from "../../../oci/credentials/credential.ts";
import { causeText } from "../../../oci/oci-error.ts";
import { type MirrorConfig, type MirrorTables, mirrorCredentials } from "../../../oci/registry/mirror-endpoints.ts";
import { sharesMountNamespace } from "../../host/mount-namespace.ts";
import { proxyEnvironment } from "../../host/proxy-environment.ts";
import type { RegistryAccess } from "../../registry-access.ts";
import { type ContainerdClient, openContainerd } from "../client/containerd-client.ts";
import { openCri } from "../client/cri/cri-client.ts";
import { readConfiguration } from "../configuration.ts";
import { daemonPid } from "../daemon-pid.ts";
import { type ContainerdRegistries, containerdEndpoints } from "./containerd-endpoints.ts";

/** How a containerd reaches registries. Paths are those that it sees. */
export type ContainerdRegistryAccess = RegistryAccess & ContainerdRegistries;

/** Since 2.2, where neither `config_path` nor mirrors are set (`plugins/cri/images/plugin.go`). */
const defaultDirectories = "/etc/containerd/certs.d:/etc/docker/certs.d";
const timeoutMs = 5000;

/** The CRI plugin's configuration as 1.x has it in its verbose status, and as configuration files have it. */
type RegistryTable = {
  readonly configPath: string | undefined;
  readonly mirrors: unknown;
  readonly configs: unknown;
  readonly auths: unknown;
};

/**
 * Reads how the containerd at `address` reaches registries: from the daemon itself where it says so (1.x in the verbose status of CRI, 2.x in
 * what its image plugin exports), else from its configuration files; proxies from its process, or from its unit while it does not run. Never
 * throws for a daemon that does not answer: what its files say holds then.
 */
export async function readRegistryAccess(
  address: string,
  options: { readonly unit?: string } = {},
): Promise<ContainerdRegistryAccess> {
  using client = openContainerd(address);
  const pid = await daemonPid(client, { timeoutMs }).catch(() => undefined);
  const isOwnNamespace = pid === undefined || (await sharesMountNamespace(pid).catch(() => true));
  const local = (path: string) => (isOwnNamespace ? path : `/proc/${pid}/root${path}`);
  const problems: string[] = [];
  const configuration = await readConfiguration({ pid: pid ?? 0, local });
  const fromFiles = tableOfFiles((...keys) => configuration.value(...keys));
  const told =
    pid === undefined ? undefined : await tableOfDaemon(client).catch((error) => void problems.push(causeText(error)));
  if (told?.mirrors === undefined) problems.push(...configuration.problems.flatMap(withoutContent));
  const table = { ...fromFiles, ...told };
  const tables = mirrorTables(table, problems);
  const hasDefault = told?.configPath === undefined && pid !== undefined && (await isAtLeast22(client));
  const path = table.configPath || (hasDefault && Object.keys(tables.mirrors).length === 0 ? defaultDirectories : "");
  const registries = { hostsDirectories: path.split(":").filter((each) => each !== ""), tables, local };
  return {
    ...registries,
    isRunning: pid !== undefined,
    source: told === undefined ? configuration.path : `containerd at ${address}`,
    environment: await proxyEnvironment(pid, options.unit ?? "containerd.service"),
    problems,
    credentials: mirrorCredentials(tables.configs),
    endpoints: (host, onProblem) => containerdEndpoints(registries, host, onProblem),
  };
}

/** What the daemon itself says; fields that it does not tell are left out. */
async function tableOfDaemon(client: ContainerdClient): Promise<Partial<RegistryTable> | undefined> {
  const [images] = await client.introspection.plugins(["type==io.containerd.cri.v1.images,id==images"], { timeoutMs });
  const exported = images?.exports.RegistryConfigPath;
  if (exported !== undefined) return { configPath: exported };
  using cri = openCri(client.address);
  const { info } = await cri.runtime.status({ verbose: true, timeoutMs });
  const { registry } = asTable(JSON.parse(info.config ?? "{}"));
  if (registry === undefined) return undefined;
  const { configPath, mirrors, configs, auths } = asTable(registry);
  return { configPath: asText(configPath) ?? "", mirrors: mirrors ?? {}, configs: configs ?? {}, auths: auths ?? {} };
}

/** In the tables of 2.x, else in those of 1.x, which 2.x reads too. */
function tableOfFiles(value: (...keys: string[]) => unknown): RegistryTable {
  const find = (key: string) =>
    value("plugins", "io.containerd.cri.v1.images", "registry", key) ??
    value("plugins", "io.containerd.grpc.v1.cri", "registry", key) ??
    value("plugins", "cri", "registry", key);
  const mirrors = find("mirrors");
  return { configPath: asText(find("config_path")), mirrors, configs: find("configs"), auths: find("auths") };
}

function mirrorTables(table: RegistryTable, problems: string[]): MirrorTables {
  const mirrors = Object.entries(asTable(table.mirrors)).map(([host, mirror]) => {
    const { endpoint } = asTable(mirror);
    return [host, Array.isArray(endpoint) ? endpoint.filter((each) => typeof each === "string") : []];
  });
  const configs: Record<string, MirrorConfig> = {};
  for (const [host, config] of Object.entries(asTable(table.configs))) configs[host] = mirrorConfig(asTable(config));
  // Older still; keys are URLs of servers.
  for (const [address, auth] of Object.entries(asTable(table.auths))) {
    const host = URL.parse(address)?.host || address;
    const credential = credentialOf(asTable(auth));
    if (credential) configs[host] = { auth: credential, ...configs[host] };
    else problems.push(`registry.auths of containerd has an entry for ${host} without a user`);
  }
  return { mirrors: Object.fromEntries(mirrors), configs };
}

/** The verbose status writes the names of files in camel case. */
function mirrorConfig({ tls, auth }: Table): MirrorConfig {
  const { insecure_skip_verify, ca_file, caFile, cert_file, certFile, key_file, keyFile } = asTable(tls);
  const [ca, cert, key] = [asText(ca_file ?? caFile), asText(cert_file ?? certFile), asText(key_file ?? keyFile)];
  const credential = credentialOf(asTable(auth));
  return {
    ...(insecure_skip_verify === true && { skipVerify: true }),
    ...(ca && { caFile: ca }),
    ...(cert && { certFile: cert }),
    ...(key && { keyFile: key }),
    ...(credential && { auth: credential }),
  };
}

function credentialOf(auth: Table): Credential | undefined {
  const token = asText(auth.identitytoken ?? auth.identityToken);
  if (token) return { kind: "identity-token", token };
  const username = asText(auth.username);
  if (username) return { kind: "password", username, password: asText(auth.password) ?? "" };
  const [, user, password] = /^([^:]+):(.*)$/s.exec(Buffer.from(asText(auth.auth) ?? "", "base64").toString()) ?? [];
  if (user === undefined || password === undefined) return undefined;
  return { kind: "password", username: user, password: password.replace(/\0+$/, "") };
}

async function isAtLeast22(client: ContainerdClient): Promise<boolean> {
  const { version } = await client.version.get({ timeoutMs }).catch(() => ({ version: "" }));
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 2);
}

/** A parser's message quotes the file, which may hold passwords. A daemon without a file runs with its defaults. */
function withoutContent(problem: string): string[] {
  return problem.includes("ENOENT") ? [] : [`${problem.split(": ")[0]} cannot be read or is not valid TOML`];
}

type Table = Readonly<Record<string, unknown>>;

function asTable(value: unknown): Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
