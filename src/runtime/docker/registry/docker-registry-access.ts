import { lookup } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { anything, array, object, orAbsent, readShape, string } from "../../../oci/json-shape.ts";
import { causeText } from "../../../oci/oci-error.ts";
import { optionOf } from "../../containerd/configuration.ts";
import { sharesMountNamespace } from "../../host/mount-namespace.ts";
import { proxyEnvironment } from "../../host/proxy-environment.ts";
import type { RegistryAccess } from "../../registry-access.ts";
import { findDaemonProcess } from "../daemon-process.ts";
import { readIfExists } from "../durable-file.ts";
import { EngineConnection } from "../engine-connection.ts";
import { dockerEndpoints } from "./docker-endpoints.ts";
import { type DockerProxies, registriesOfFile, registriesOfInfo } from "./docker-registries.ts";

/** The answer lists all plugins and more, and some daemons take their time for it. */
const timeoutMs = 10_000;
/** Behind a proxy, names of servers need not be known here. */
const lookupTimeoutMs = 3000;

const defaultFile = "/etc/docker/daemon.json";

/** How dockerd masks users and passwords of proxies (moby `daemon/config`, MaskCredentials). */
const mask = "xxxxx:xxxxx@";

const storeShape = object({ DockerRootDir: string, DriverStatus: orAbsent(array(anything)) });

/**
 * Reads how the Docker at `address` (a path, or a `unix://` URL) reaches registries: from the daemon itself, else, while it does not answer,
 * from its daemon.json and the environment of its unit. Never throws: what is missing is among the `problems`.
 */
export async function readDockerRegistryAccess(
  address: string,
  options: { readonly unit?: string; readonly file?: string } = {},
): Promise<RegistryAccess> {
  const connection = new EngineConnection(address);
  const problems: string[] = [];
  const info = await readInfo(connection).catch((error) => void problems.push(causeText(error)));
  const store = readShape(storeShape, info).value;
  const pid = store && (await findDaemonProcess(store.DockerRootDir, connection.address));
  const isOwnNamespace = pid === undefined || (await sharesMountNamespace(pid).catch(() => true));
  const local = (path: string) => (isOwnNamespace ? path : `/proc/${pid}/root${path}`);
  const words = pid === undefined ? [] : await commandLine(pid);
  const file = optionOf(words, ["config-file"]) ?? options.file ?? defaultFile;
  const text = await readIfExists(local(file)).catch((error) => void problems.push(`${file}: ${causeText(error)}`));
  const inFile = registriesOfFile(text ?? "");
  if (inFile.problem !== undefined) problems.push(`${file}: ${inFile.problem}`);
  const told = info === undefined ? inFile : registriesOfInfo(info);
  if (info !== undefined && told.problem !== undefined) problems.push(`Docker at ${address}: ${told.problem}`);
  const environment = await proxyEnvironment(pid, options.unit ?? "docker.service");
  const flags = { http: optionOf(words, ["http-proxy"]), https: optionOf(words, ["https-proxy"]) };
  const configured = [flags, inFile.registries.proxies, inUpperCase(environment), inLowerCase(environment)];
  const proxies =
    info === undefined ? firstOfEach(configured) : unmasked(told.registries.proxies, configured, problems);
  const servers = {
    registries: told.registries,
    readsHostsFiles: store?.DriverStatus?.some(isContainerdStore) ?? false,
    local,
    addressesOf,
  };
  return {
    source: info === undefined ? file : `Docker at ${connection.address}`,
    isRunning: info !== undefined,
    environment: asEnvironment(proxies),
    problems,
    // What clients of Docker know is in their own files; the daemon has none.
    credentials: async () => undefined,
    endpoints(host, onProblem) {
      for (const problem of problems) onProblem(problem);
      return dockerEndpoints(servers, host, onProblem);
    },
  };
}

async function readInfo(connection: EngineConnection): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  const text = await connection.send({ method: "GET", path: "/info", signal });
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`what answers on ${connection.address} is no Docker: its answer is not JSON`);
  }
}

async function commandLine(pid: number): Promise<readonly string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
}

type Configured = { readonly [Name in keyof DockerProxies]?: string | undefined };

function firstOfEach(configured: readonly Configured[]): DockerProxies {
  const first = (name: keyof DockerProxies) => configured.map((each) => each[name]).find((each) => each);
  const [http, https, no] = [first("http"), first("https"), first("no")];
  return { ...(http && { http }), ...(https && { https }), ...(no && { no }) };
}

/** The daemon says which proxies it uses, and hides their passwords; those are where it has them from. */
function unmasked(said: DockerProxies, configured: readonly Configured[], problems: string[]): DockerProxies {
  const found: { http?: string; https?: string; no?: string } = said.no === undefined ? {} : { no: said.no };
  for (const scheme of ["http", "https"] as const) {
    const url = said[scheme];
    if (url === undefined) continue;
    const whole = url.includes(mask)
      ? configured.map((each) => each[scheme]).find((each) => each !== undefined && isSame(each, url))
      : url;
    if (whole !== undefined) found[scheme] = whole;
    else problems.push(`the password of Docker's ${scheme} proxy is not in its files, flags or environment`);
  }
  return found;
}

function isSame(url: string, masked: string): boolean {
  const [one, other] = [URL.parse(url), URL.parse(masked)];
  return one !== null && other !== null && one.host === other.host && one.protocol === other.protocol;
}

function inUpperCase({ HTTP_PROXY, HTTPS_PROXY, NO_PROXY }: Readonly<Record<string, string>>): Configured {
  return { http: HTTP_PROXY, https: HTTPS_PROXY, no: NO_PROXY };
}

function inLowerCase({ http_proxy, https_proxy, no_proxy }: Readonly<Record<string, string>>): Configured {
  return { http: http_proxy, https: https_proxy, no: no_proxy };
}

function asEnvironment({ http, https, no }: DockerProxies): Record<string, string> {
  return { ...(http && { HTTP_PROXY: http }), ...(https && { HTTPS_PROXY: https }), ...(no && { NO_PROXY: no }) };
}

async function addressesOf(name: string): Promise<readonly string[]> {
  const timer = new AbortController();
  try {
    const late = sleep(lookupTimeoutMs, [], { signal: timer.signal, ref: false });
    late.catch(() => {});
    const found = await Promise.race([lookup(name, { all: true }), late]);
    return found.map(({ address }) => address.replace(/%.*$/, ""));
  } catch {
    return [];
  } finally {
    timer.abort();
  }
}

/** `DriverStatus` is a list of pairs. */
function isContainerdStore(pair: unknown): boolean {
  return Array.isArray(pair) && pair[0] === "driver-type" && String(pair[1]).startsWith("io.containerd.snapshotter");
}
