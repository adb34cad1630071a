import { open } from "node:fs/promises";
import { authFile } from "../../oci/credentials/auth-file.ts";
import { type CredentialLookup, firstOf } from "../../oci/credentials/credential.ts";
import { defaultCredentials } from "../../oci/credentials/default-credentials.ts";
import { ExecCredentials, type ProviderPlaces } from "../../oci/credentials/exec-credentials.ts";
import { causeText, OciError } from "../../oci/oci-error.ts";
import { kubeletProviders } from "./kubelet-providers.ts";
import { overrideOf } from "./registry-override.ts";
import type { RegistrySettings } from "./registry-settings.ts";

export type AgentCredentialOptions = {
  /** Those in force now. */
  readonly settings: () => RegistrySettings;
  /** What the runtime's own configuration knows; asked last. */
  readonly runtime: CredentialLookup;
  /** For credential helpers, and to find docker's files. */
  readonly environment: NodeJS.ProcessEnv;
  /** Told of credential providers that fail, by name, and that they work again. */
  readonly onProblem: (provider: string, message: string | undefined) => void;
  /** Default: found by the processes of this node. */
  readonly kubelet?: () => Promise<ProviderPlaces | undefined>;
};

/** Where a kubelet finds its own docker configuration (`--root-dir`). */
const kubeletDockerConfig = "/var/lib/kubelet/config.json";
const maxPasswordBytes = 64 << 10;
/** A kubelet is looked for again after so long. */
const kubeletAgeMs = 60_000;

/**
 * Where the agent has its credentials from, the first that knows one: `AgentConfig.registries` (the longest prefix), docker config files,
 * kubelet's credential providers, the runtime's own configuration. Nothing is kept longer than its source says.
 */
export function agentCredentials(options: AgentCredentialOptions): CredentialLookup {
  const { settings, environment, onProblem } = options;
  const find = options.kubelet ?? kubeletProviders;
  let kubelet: { readonly places: Promise<ProviderPlaces | undefined>; readonly atMs: number } | undefined;
  const places = async (): Promise<ProviderPlaces | undefined> => {
    const named = settings().credentialProviders;
    if (named) return { ...named, environment };
    if (!kubelet || performance.now() - kubelet.atMs > kubeletAgeMs) {
      kubelet = { places: find().catch(() => undefined), atMs: performance.now() };
    }
    return kubelet.places;
  };
  const providers = new ExecCredentials({ places, onProblem });
  return firstOf([
    configuredCredentials(settings),
    dockerConfigs(settings, environment),
    providers.lookup,
    options.runtime,
  ]);
}

/** `credentials` of the entry with the longest prefix that has some. The password's file is read each time. */
function configuredCredentials(settings: () => RegistrySettings): CredentialLookup {
  return async (host, repository) => {
    const entry = overrideOf(
      settings().registries.filter(({ credentials }) => credentials !== undefined),
      { host, path: repository },
    );
    if (!entry?.credentials) return undefined;
    const { username, passwordFile } = entry.credentials;
    return { kind: "password", username, password: await readPassword(passwordFile, entry.prefix) };
  };
}

async function readPassword(file: string, prefix: string): Promise<string> {
  try {
    await using handle = await open(file);
    const buffer = Buffer.alloc(maxPasswordBytes);
    const { bytesRead } = await handle.read(buffer);
    return buffer.toString("utf8", 0, bytesRead).replace(/\r?\n$/, "");
  } catch (error) {
    const message = `Cannot read the password for ${prefix} in ${file}, which AgentConfig names: ${causeText(error)}`;
    throw new OciError("credentials-failed", message, { cause: error });
  }
}

function dockerConfigs(settings: () => RegistrySettings, environment: NodeJS.ProcessEnv): CredentialLookup {
  const files = new Map<string, CredentialLookup>();
  const file = (path: string, isRequired: boolean): CredentialLookup => {
    const known = files.get(path) ?? authFile(path, { isRequired, environment });
    files.set(path, known);
    return known;
  };
  const usual = firstOf([defaultCredentials(undefined, environment), file(kubeletDockerConfig, false)]);
  return (host, repository, signal, refused) => {
    const named = settings().dockerConfigs;
    const lookup = named ? firstOf(named.map((path) => file(path, true))) : usual;
    return lookup(host, repository, signal, refused);
  };
}
