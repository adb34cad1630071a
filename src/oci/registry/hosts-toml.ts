import { readdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { TomlTable, TomlValue } from "smol-toml";
import { causeText, OciError, printable } from "../oci-error.ts";
import type { Endpoint, TlsSettings } from "./endpoint.ts";

/** Where containerd's registry configuration is. */
export type HostsFolders = {
  /** The first with a folder for the host, or `_default`, counts; a list as in `config_path`. */
  readonly directories: readonly string[];
  /** How this program reaches a path that the files name. Default: as it is. */
  readonly local?: (path: string) => string;
  /**
   * Told of a hosts.toml that cannot be used; the folder is then taken without it, as containerd does. Default: such a file is an error.
   */
  readonly onProblem?: (message: string) => void;
};

/**
 * The servers for `host` that containerd's registry configuration names, mirrors first, the registry itself last; `undefined` when it says
 * nothing of this host. Looks at `HOST_PORT_/`, `HOST:PORT/` and `_default/` of each directory, as containerd does (its docs/hosts.md).
 * `fallback` are the servers where none are named. Throws `OciError` (invalid-configuration) naming the file and key.
 */
export async function configuredEndpoints(
  folders: HostsFolders,
  host: string,
  fallback: readonly Endpoint[],
): Promise<readonly Endpoint[] | undefined> {
  const { local = (path) => path, onProblem } = folders;
  for (const directory of folders.directories) {
    for (const name of hostDirectories(host)) {
      const folder = join(directory, name);
      const files = await readdir(local(folder)).catch(() => undefined);
      if (files === undefined) continue;
      const file = join(folder, "hosts.toml");
      try {
        const text = files.includes("hosts.toml") ? await readText(local(file)) : "";
        if (text !== "") return await parseHosts({ file, local }, text, host, fallback);
      } catch (error) {
        if (!onProblem || !(error instanceof OciError)) throw error;
        onProblem(error.message);
      }
      return withCertificateFiles(local(folder), files, fallback);
    }
  }
  return undefined;
}

type HostsFile = { readonly file: string; readonly local: (path: string) => string };

function hostDirectories(host: string): string[] {
  const withPort = /^(.+):(\d+)$/.exec(host);
  return [...(withPort ? [`${withPort[1]}_${withPort[2]}_`] : []), host, "_default"];
}

async function parseHosts(
  { file, local }: HostsFile,
  text: string,
  host: string,
  fallback: readonly Endpoint[],
): Promise<Endpoint[]> {
  // Most hosts have no such file.
  const { parse, TomlError } = await import("smol-toml");
  let document: TomlTable;
  try {
    document = parse(text);
  } catch (error) {
    // Not the parser's message: it quotes lines, which may hold a secret header.
    const place = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : "";
    throw new OciError("invalid-configuration", `${file} is not valid TOML${place}`);
  }
  const root = new Table({ file, local }, "", document);
  const endpoints: Endpoint[] = [];
  for (const [url, table] of root.tables("host")) endpoints.push(await parseEndpoint(table, url, host));
  const address = root.text("server");
  if (address !== undefined && address !== "") endpoints.push(await parseEndpoint(root, address, host));
  else {
    // What stands outside of all tables is said of the registry itself, named or not; its capabilities do not count then.
    const { headers, tls, namesTls } = await accessSettings(root);
    for (const own of fallback) {
      endpoints.push({
        ...own,
        headers,
        tls: namesTls ? { ...tls, skipVerify: tls.skipVerify || own.tls.skipVerify } : own.tls,
      });
    }
  }
  return endpoints;
}

async function parseEndpoint(table: Table, address: string, host: string): Promise<Endpoint> {
  let url: URL;
  try {
    url = new URL(/^https?:\/\//.test(address) ? address : `https://${address}`);
  } catch {
    throw table.refusal(`"${address}" is no URL`);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "") {
    throw table.refusal("the URL of a server must not have a user, a password or a query");
  }
  const path = url.pathname.replace(/\/+$/, "");
  const keepPath = (table.flag("override_path") ?? false) || path.endsWith("/v2");
  const capabilities = table.texts("capabilities").map((each) => each.toLowerCase());
  for (const each of capabilities) {
    if (!["pull", "resolve", "push", "referrers"].includes(each)) throw table.refusal(`unknown capability "${each}"`);
  }
  const { headers, tls, namesTls } = await accessSettings(table);
  // containerd asks a server of plain HTTP for which something of TLS is configured by https first, unless its port is 80.
  const isTlsFirst = url.protocol === "http:" && namesTls && !/^http:\/\/[^/]*:80(?:\/|$)/.test(address);
  // Users write docker.io and mean the server of Docker Hub.
  const server = url.host === "docker.io" ? "registry-1.docker.io" : url.host;
  const isRegistry = server === (host === "docker.io" ? "registry-1.docker.io" : host);
  return {
    origin: `${isTlsFirst ? "https:" : url.protocol}//${server}`,
    apiPath: keepPath ? path : `${path}/v2`,
    resolves: capabilities.length === 0 || capabilities.includes("resolve"),
    pulls: capabilities.length === 0 || capabilities.includes("pull"),
    headers,
    tls,
    namespace: isRegistry ? undefined : host,
    ...(isTlsFirst && { fallsBackToHttp: true }),
  };
}

type AccessSettings = Pick<Endpoint, "headers" | "tls"> & {
  /** Whether anything of TLS is said at all. */
  readonly namesTls: boolean;
};

async function accessSettings(table: Table): Promise<AccessSettings> {
  const skipVerify = table.flag("skip_verify");
  const authorities = await Promise.all(table.texts("ca").map((path) => table.readFile(path)));
  const client = await clientCertificates(table);
  return {
    headers: Object.fromEntries([...table.table("header")].map(([name, values]) => [name.toLowerCase(), values])),
    tls: { authorities, client, skipVerify: skipVerify ?? false },
    namesTls: skipVerify !== undefined || authorities.length > 0 || client.length > 0,
  };
}

/** `client` is a file with certificate and key, a list of such, or a list of pairs of files. */
async function clientCertificates(table: Table): Promise<TlsSettings["client"]> {
  const pairs = table.pairs("client");
  return Promise.all(
    pairs.map(async ([certificate, key = certificate]) => ({
      certificate: await table.readFile(certificate),
      key: await table.readFile(key === "" ? certificate : key),
    })),
  );
}

/** Docker's form without hosts.toml: `*.crt` are authorities, `*.cert` and `*.key` a client certificate. */
export async function withCertificateFiles(
  folder: string,
  files: readonly string[],
  endpoints: readonly Endpoint[],
): Promise<readonly Endpoint[]> {
  const read = (name: string) => readText(join(folder, name));
  const sorted = [...files].sort();
  const authorities = await Promise.all(sorted.filter((name) => name.endsWith(".crt")).map(read));
  const client = await Promise.all(
    sorted
      .filter((name) => name.endsWith(".cert"))
      .map(async (name) => {
        const key = name.replace(/cert$/, "key");
        return { certificate: await read(name), key: await read(files.includes(key) ? key : name) };
      }),
  );
  if (authorities.length === 0 && client.length === 0) return endpoints;
  return endpoints.map((each) => ({ ...each, tls: { authorities, client, skipVerify: each.tls.skipVerify } }));
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new OciError("invalid-configuration", `Cannot read ${printable(file, 500)}: ${causeText(error)}`, {
      cause: error,
    });
  }
}

/** A table of the file, with errors that name the place. */
class Table {
  readonly #source: HostsFile;
  readonly #name: string;
  readonly #values: TomlTable;

  constructor(source: HostsFile, name: string, values: TomlTable) {
    this.#source = source;
    this.#name = name;
    this.#values = values;
  }

  refusal(reason: string): OciError {
    const place = this.#name === "" ? "" : ` in ${this.#name}`;
    return new OciError("invalid-configuration", printable(`${this.#source.file}${place}: ${reason}`, 1000));
  }

  text(key: string): string | undefined {
    const value = this.#values[key];
    if (value !== undefined && typeof value !== "string") throw this.refusal(`"${key}" must be a text`);
    return value;
  }

  flag(key: string): boolean | undefined {
    const value = this.#values[key];
    if (value !== undefined && typeof value !== "boolean") throw this.refusal(`"${key}" must be true or false`);
    return value;
  }

  texts(key: string): string[] {
    return this.#textList(key, this.#values[key]);
  }

  pairs(key: string): [string, string?][] {
    const value = this.#values[key];
    if (!Array.isArray(value)) return this.texts(key).map((each) => [each]);
    return value.map((each) => {
      const [first, second, ...rest] = this.#textList(key, each);
      if (first === undefined || rest.length > 0) throw this.refusal(`"${key}" must hold files or pairs of files`);
      return second === undefined ? [first] : [first, second];
    });
  }

  /** The tables below `key`, in the order of the file. */
  *tables(key: string): Generator<[string, Table]> {
    for (const [name, value] of Object.entries(this.#tableValue(key, this.#values[key]))) {
      const place = `[${key}."${name}"]`;
      yield [name, new Table(this.#source, place, this.#tableValue(place, value))];
    }
  }

  *table(key: string): Generator<[string, string[]]> {
    for (const [name, value] of Object.entries(this.#tableValue(key, this.#values[key]))) {
      yield [name, this.#textList(`${key}.${name}`, value)];
    }
  }

  /** A file whose path may be relative to the folder of hosts.toml. */
  readFile(path: string): Promise<string> {
    return readText(this.#source.local(resolve(dirname(this.#source.file), path)));
  }

  #tableValue(key: string, value: TomlValue | undefined): TomlTable {
    if (value === undefined) return {};
    if (!isTable(value)) throw this.refusal(`"${key}" must be a table`);
    return value;
  }

  #textList(key: string, value: TomlValue | undefined): string[] {
    if (value === undefined) return [];
    const list = Array.isArray(value) ? value : [value];
    return list.map((each) => {
      if (typeof each !== "string") throw this.refusal(`"${key}" must be a text or a list of texts`);
      return each;
    });
  }
}

function isTable(value: TomlValue): value is TomlTable {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Date);
}
