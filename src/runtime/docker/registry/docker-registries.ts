import { isIP } from "node:net";
import { array, boolean, object, orAbsent, readShape, record, string } from "../../../oci/json-shape.ts";
import { parseJson } from "../durable-file.ts";

/** What a Docker daemon knows of registries. */
export type DockerRegistries = {
  /** URLs of mirrors, which are for Docker Hub only. */
  readonly mirrors: readonly string[];
  /** By `host[:port]`, as it stands in references: whether certificates of the server are looked at. */
  readonly isSecure: ReadonlyMap<string, boolean>;
  /** Servers with an address in one of these blocks (`10.0.0.0/8`) need no valid certificate either. */
  readonly insecureBlocks: readonly string[];
  readonly proxies: DockerProxies;
};

/** As they are configured: URLs, and a list as in `NO_PROXY`. */
export type DockerProxies = { readonly http?: string; readonly https?: string; readonly no?: string };

/** What was read, and what could not be; a problem never quotes values, which may be secret. */
export type ReadRegistries = { readonly registries: DockerRegistries; readonly problem?: string };

/** As dockerd has them, whatever is configured (moby `registry/config.go`). */
const loopbackBlocks = ["127.0.0.0/8", "::1/128"];

const none: DockerRegistries = { mirrors: [], isSecure: new Map(), insecureBlocks: loopbackBlocks, proxies: {} };

const infoShape = object({
  RegistryConfig: orAbsent(
    object({
      Mirrors: orAbsent(array(string)),
      InsecureRegistryCIDRs: orAbsent(array(string)),
      IndexConfigs: orAbsent(record(object({ Secure: boolean }))),
    }),
  ),
  HttpProxy: orAbsent(string),
  HttpsProxy: orAbsent(string),
  NoProxy: orAbsent(string),
});

const fileShape = object({
  "registry-mirrors": orAbsent(array(string)),
  "insecure-registries": orAbsent(array(string)),
  proxies: orAbsent(
    object({ "http-proxy": orAbsent(string), "https-proxy": orAbsent(string), "no-proxy": orAbsent(string) }),
  ),
});

/** From what the daemon itself says (Docker Engine API, `GET /info`), flags and reloads among it. Passwords of proxies are masked. */
export function registriesOfInfo(info: unknown): ReadRegistries {
  const { value, problem } = readShape(infoShape, info);
  if (problem !== undefined) return { registries: none, problem: `${problem.path} ${problem.message}` };
  const { RegistryConfig: config, HttpProxy, HttpsProxy, NoProxy } = value;
  const indexes = Object.entries(config?.IndexConfigs ?? {});
  return {
    registries: {
      mirrors: config?.Mirrors ?? [],
      isSecure: new Map(indexes.map(([name, { Secure }]) => [name, Secure])),
      insecureBlocks: (config?.InsecureRegistryCIDRs ?? loopbackBlocks).filter(isBlock),
      proxies: proxiesOf(HttpProxy, HttpsProxy, NoProxy),
    },
  };
}

/** From a daemon.json, as it stands there. Empty text is a file without settings. */
export function registriesOfFile(text: string): ReadRegistries {
  // dockerd takes a byte order mark, too.
  const json = text.replace(/^\uFEFF/, "");
  const { value, problem } = readShape(fileShape, json.trim() === "" ? {} : parseJson(json));
  if (problem !== undefined) {
    const place = problem.path === "" ? "it" : problem.path;
    return { registries: none, problem: `${place} ${problem.message}` };
  }
  const { "registry-mirrors": mirrors = [], "insecure-registries": insecure = [], proxies } = value;
  const names = insecure.map((each) => each.replace(/^https?:\/\//i, ""));
  const hosts = names.filter((each) => !isBlock(each)).map((each) => (each === "index.docker.io" ? "docker.io" : each));
  return {
    registries: {
      mirrors,
      isSecure: new Map(hosts.map((host) => [host, false])),
      insecureBlocks: [...names.filter(isBlock), ...loopbackBlocks],
      proxies: proxiesOf(proxies?.["http-proxy"], proxies?.["https-proxy"], proxies?.["no-proxy"]),
    },
  };
}

/** A block of addresses: `10.0.0.0/8`, `fd00::/8`. */
function isBlock(text: string): boolean {
  const [, address = "", bits = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
}

function proxiesOf(http: string | undefined, https: string | undefined, no: string | undefined): DockerProxies {
  return { ...(http && { http }), ...(https && { https }), ...(no && { no }) };
}
