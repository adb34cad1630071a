import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { array, boolean, object, optional, orAbsent, readShape, string } from "../json-shape.ts";
import { causeText, OciError, printable } from "../oci-error.ts";
import { isImagePattern } from "./image-glob.ts";

const group = "credentialprovider.kubelet.k8s.io";
/** Versions of request and response. */
export const providerVersions = [`${group}/v1`, `${group}/v1beta1`, `${group}/v1alpha1`];
const configVersions = ["v1", "v1beta1", "v1alpha1"].map((version) => `kubelet.config.k8s.io/${version}`);

/** One exec credential provider of kubelet's `CredentialProviderConfig` (k8s.io/kubelet, config/v1/types.go). */
export type ExecProvider = {
  /** File name of its program. */
  readonly name: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  /** Of request and response. */
  readonly apiVersion: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  /** Wants the token of a pod's service account, which nothing outside of a pod has. */
  readonly needsServiceAccount: boolean;
};

export type ExecProviderConfig = {
  readonly providers: readonly ExecProvider[];
  /** Changes when a file does. */
  readonly fingerprint: string;
};

const providerShape = object({
  name: string,
  matchImages: array(string),
  defaultCacheDuration: optional(string),
  apiVersion: string,
  args: orAbsent(array(string)),
  env: orAbsent(array(object({ name: string, value: string }))),
  tokenAttributes: orAbsent(object({ requireServiceAccount: optional(boolean) })),
});
const configShape = object({ apiVersion: string, kind: string, providers: array(providerShape) });

/**
 * Reads a `CredentialProviderConfig` in YAML or JSON: a file, or all `.json`, `.yaml` and `.yml` files of a folder in the order of their
 * names, as kubelet does. Throws `OciError` (credentials-failed) that names file and field, never a value.
 */
export async function readExecProviders(path: string): Promise<ExecProviderConfig> {
  const providers: ExecProvider[] = [];
  for (const file of await configFiles(path)) {
    for (const provider of await readFileOf(file)) {
      if (providers.some(({ name }) => name === provider.name)) throw refusal(file, `has "${provider.name}" twice`);
      providers.push(provider);
    }
  }
  return { providers, fingerprint: await execProvidersFingerprint(path) };
}

/** Cheap to compare: changes when a file of the configuration does. */
export async function execProvidersFingerprint(path: string): Promise<string> {
  const files = await configFiles(path).catch(() => []);
  const parts = await Promise.all(
    [path, ...files].map(async (file) => {
      const { ino, size, mtimeNs } = await stat(file, { bigint: true }).catch(() => ({ ino: 0, size: 0, mtimeNs: 0 }));
      return `${file} ${ino} ${size} ${mtimeNs}`;
    }),
  );
  return parts.join("\n");
}

async function configFiles(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    const entries = await readdir(path, { withFileTypes: true });
    const names = entries.filter((each) => !each.isDirectory() && /\.(?:json|ya?ml)$/.test(each.name));
    if (names.length === 0) throw refusal(path, "holds no .json, .yaml or .yml file");
    return names.map(({ name }) => join(path, name)).sort();
  } catch (error) {
    throw error instanceof OciError ? error : unreadable(path, error);
  }
}

async function readFileOf(file: string): Promise<ExecProvider[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw unreadable(file, error);
  }
  // Loaded here: most nodes have no such file.
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 20, logLevel: "silent" });
  } catch {
    // Not the parser's message: it quotes the text, which may hold secrets in `env`.
    throw refusal(file, "is not YAML");
  }
  const config = readShape(configShape, value);
  if (config.problem) throw refusal(file, `${config.problem.path || "it"} ${config.problem.message}`);
  const { apiVersion, kind, providers } = config.value;
  if (kind !== "CredentialProviderConfig" || !configVersions.includes(apiVersion)) {
    throw refusal(file, `must be a CredentialProviderConfig of ${configVersions.join(", ")}`);
  }
  if (providers.length === 0) throw refusal(file, "has no providers");
  return providers.map((provider, i) => {
    const { name, matchImages, defaultCacheDuration, args = [], env = [], tokenAttributes } = provider;
    const problem = (what: string) => refusal(file, `providers.${i}.${what}`);
    if (name === "" || basename(name) !== name || /^\.\.?$|\s/.test(name))
      throw problem("name is no name of a program");
    if (matchImages.length === 0) throw problem("matchImages is empty");
    const wrong = matchImages.findIndex((pattern) => !isImagePattern(pattern));
    if (wrong >= 0) throw problem(`matchImages.${wrong} is no pattern of images`);
    if (!providerVersions.includes(provider.apiVersion)) {
      throw problem(`apiVersion is not one of ${providerVersions.join(", ")}`);
    }
    const defaultCacheMs = goDurationMs(defaultCacheDuration ?? "");
    if (defaultCacheMs === undefined) throw problem("defaultCacheDuration must be a duration such as 12h");
    const needsServiceAccount = tokenAttributes !== undefined && tokenAttributes.requireServiceAccount !== false;
    return { name, matchImages, defaultCacheMs, apiVersion: provider.apiVersion, args, env, needsServiceAccount };
  });
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration of Go's (`12h`, `1h30m0s`, `0`) from 0 up, as milliseconds; `undefined` for anything else. */
export function goDurationMs(text: string): number | undefined {
  const digits = /^\+?((?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/;
  if (/^[+-]?0$/.test(text)) return 0;
  if (!digits.test(text)) return undefined;
  return [...text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g)].reduce(
    (sum, [, count, unit = ""]) => sum + Number(count) * (unitMs[unit] ?? 0),
    0,
  );
}

function refusal(file: string, why: string): OciError {
  return new OciError(
    "credentials-failed",
    printable(`kubelet's credential provider configuration ${file}: ${why}`, 800),
  );
}

function unreadable(file: string, error: unknown): OciError {
  const message = `Cannot read kubelet's credential provider configuration ${printable(file, 300)}: ${causeText(error)}`;
  return new OciError("credentials-failed", message, { cause: error });
}
