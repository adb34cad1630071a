import { join } from "node:path";
import { object, optional, orAbsent, readShape, record, string } from "../json-shape.ts";
import { OciError } from "../oci-error.ts";
import { askHelper } from "./ask-helper.ts";
import { type ExecProvider, goDurationMs } from "./exec-provider-config.ts";

/** What a provider gave. */
export type ProviderAnswer = {
  readonly cacheKeyType: "Image" | "Registry" | "Global";
  /** 0: must not be kept. */
  readonly cacheMs: number;
  /** Users and passwords by patterns of images. */
  readonly auth: Readonly<Record<string, { readonly username: string; readonly password: string }>>;
};

export type AskOptions = {
  /** Folder of the programs. */
  readonly binaries: string;
  /** What the program gets beside the variables of its configuration. */
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** Default: a minute, as kubelet has it. */
  readonly timeoutMs?: number;
};

const maxOutputBytes = 1 << 20;
const answerShape = object({
  apiVersion: string,
  kind: string,
  cacheKeyType: string,
  cacheDuration: orAbsent(string),
  auth: orAbsent(record(object({ username: optional(string), password: optional(string) }))),
});

/**
 * Asks one provider for the credentials of an image (`host/path`, no tag) by kubelet's protocol: `CredentialProviderRequest` on its standard
 * input, `CredentialProviderResponse` of the same version on its standard output (k8s.io/kubelet, pkg/apis/credentialprovider). Nothing it
 * prints ever gets into an error. Throws `OciError` (credentials-failed); the reason of the signal.
 */
export async function askExecProvider(
  provider: ExecProvider,
  image: string,
  options: AskOptions,
): Promise<ProviderAnswer> {
  const { name, apiVersion, args } = provider;
  const program = join(options.binaries, name);
  const failure = (why: string, cause?: unknown) =>
    new OciError("credentials-failed", `the credential provider ${program} ${why} for ${image}`, { cause });
  const variables = Object.fromEntries(provider.env.map((each) => [each.name, each.value]));
  const value = await askHelper({
    program,
    args,
    environment: { ...options.environment, ...variables },
    input: JSON.stringify({ kind: "CredentialProviderRequest", apiVersion, image }),
    maxOutputBytes,
    timeoutMs: options.timeoutMs ?? 60_000,
    signal: options.signal,
    failure,
  });
  const answer = readShape(answerShape, value);
  // The path may hold a key that the program chose; the field at its beginning is ours.
  if (answer.problem) throw failure(`answered with a wrong field ${answer.problem.path.split(".")[0]}`);
  const { kind, cacheKeyType, cacheDuration, auth = {} } = answer.value;
  if (kind !== "CredentialProviderResponse") throw failure("answered something that is no CredentialProviderResponse");
  if (answer.value.apiVersion !== apiVersion) throw failure(`did not answer in the version ${apiVersion}`);
  if (cacheKeyType !== "Image" && cacheKeyType !== "Registry" && cacheKeyType !== "Global") {
    throw failure("answered without a cacheKeyType of Image, Registry or Global");
  }
  const cacheMs = cacheDuration === undefined ? provider.defaultCacheMs : goDurationMs(cacheDuration);
  if (cacheMs === undefined) throw failure("answered with a cacheDuration that is no duration");
  const entries = Object.entries(auth).map(([pattern, { username = "", password = "" }]) => {
    return [pattern, { username, password }] as const;
  });
  return { cacheKeyType, cacheMs, auth: Object.fromEntries(entries) };
}
