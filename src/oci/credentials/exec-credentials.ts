import { causeText } from "../oci-error.ts";
import { askExecProvider, type ProviderAnswer } from "./ask-exec-provider.ts";
import { type Credential, type CredentialLookup, isRefused } from "./credential.ts";
import {
  type ExecProvider,
  type ExecProviderConfig,
  execProvidersFingerprint,
  readExecProviders,
} from "./exec-provider-config.ts";
import { bySpecificity, matchesImage } from "./image-glob.ts";

/** Where kubelet's providers are. */
export type ProviderPlaces = {
  /** `CredentialProviderConfig`: a file or a folder of files. */
  readonly config: string;
  readonly binaries: string;
  /** What programs get beside the variables of their configuration. */
  readonly environment: NodeJS.ProcessEnv;
};

export type ExecCredentialOptions = {
  /** Where the providers are now; `undefined` when there are none. */
  readonly places: () => Promise<ProviderPlaces | undefined>;
  /** Told of providers that fail or cannot be used, and `undefined` when they work again. Never holds what they print. */
  readonly onProblem: (provider: string, message: string | undefined) => void;
  readonly timeoutMs?: number;
  /** Milliseconds since 1970. Default: `Date.now`. */
  readonly now?: () => number;
};

type Kept = { readonly answer: ProviderAnswer; readonly askedAtMs: number; readonly expiresAtMs: number };
type Given = ProviderAnswer["auth"];

/** What is younger was asked for on purpose: a refusal does not make it worth asking for again. */
const freshMs = 10_000;
const maxKept = 1000;

/**
 * Credentials from kubelet's exec credential providers: those whose `matchImages` fit are asked, what they give is kept as they say (per
 * image, registry or for all), and the most specific key that fits the image counts; of equal keys that of the first provider. One that
 * fails gives nothing, as with kubelet. The configuration is read again when it changes.
 */
export class ExecCredentials {
  readonly #options: ExecCredentialOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #asking = new Map<string, Promise<ProviderAnswer>>();
  #config: (ExecProviderConfig & { readonly path: string }) | undefined;

  constructor(options: ExecCredentialOptions) {
    this.#options = options;
  }

  readonly lookup: CredentialLookup = async (host, repository, signal, refused = []) => {
    const places = await this.#options.places();
    if (!places) return undefined;
    const image = `${host}/${repository}`;
    const providers = (await this.#providers(places.config)).filter(({ matchImages }) =>
      matchImages.some((pattern) => matchesImage(pattern, image)),
    );
    const given: Given[] = [];
    for (const provider of providers) given.push(await this.#given(provider, places, image, refused, signal));
    return candidates(given, image).find((credential) => !isRefused(credential, refused));
  };

  async #providers(path: string): Promise<readonly ExecProvider[]> {
    const fingerprint = await execProvidersFingerprint(path);
    if (this.#config?.path === path && this.#config.fingerprint === fingerprint) return this.#config.providers;
    this.#kept.clear();
    try {
      this.#config = { ...(await readExecProviders(path)), path };
      this.#options.onProblem(path, undefined);
      return this.#config.providers;
    } catch (error) {
      this.#config = undefined;
      this.#options.onProblem(path, causeText(error));
      return [];
    }
  }

  async #given(
    provider: ExecProvider,
    places: ProviderPlaces,
    image: string,
    refused: readonly Credential[],
    signal: AbortSignal,
  ): Promise<Given> {
    const { onProblem } = this.#options;
    if (provider.needsServiceAccount) {
      const message = `the credential provider ${provider.name} wants the service account token of a pod (tokenAttributes.requireServiceAccount), which only kubelet has; give credentials for ${image} in AgentConfig`;
      onProblem(provider.name, message);
      return {};
    }
    try {
      const { auth } = this.#fromKept(provider, image, refused) ?? (await this.#ask(provider, places, image, signal));
      onProblem(provider.name, undefined);
      return auth;
    } catch (error) {
      signal.throwIfAborted();
      onProblem(provider.name, causeText(error));
      return {};
    }
  }

  /** In kubelet's order: per image, per registry, for all. */
  #fromKept(provider: ExecProvider, image: string, refused: readonly Credential[]): ProviderAnswer | undefined {
    const now = this.#now();
    for (const type of ["Image", "Registry", "Global"] as const) {
      const key = keptKey(provider, type, image);
      const kept = this.#kept.get(key);
      if (!kept) continue;
      const isRejected = candidates([kept.answer.auth], image).some((each) => isRefused(each, refused));
      const mayBeStale = isRejected && now - kept.askedAtMs > freshMs;
      if (now < kept.expiresAtMs && kept.askedAtMs <= now && !mayBeStale) return kept.answer;
      this.#kept.delete(key);
    }
    return undefined;
  }

  /** Several who want the same at the same time share one run of the program, which then goes on without who gives up. */
  async #ask(
    provider: ExecProvider,
    places: ProviderPlaces,
    image: string,
    signal: AbortSignal,
  ): Promise<ProviderAnswer> {
    const key = `${provider.name} ${image}`;
    const shared = this.#asking.get(key);
    if (shared) {
      const answer = await shared.catch(() => undefined);
      signal.throwIfAborted();
      if (answer) return answer;
    }
    const asking = this.#askAndKeep(provider, places, image, signal);
    this.#asking.set(key, asking);
    try {
      return await asking;
    } finally {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    }
  }

  async #askAndKeep(
    provider: ExecProvider,
    { binaries, environment }: ProviderPlaces,
    image: string,
    signal: AbortSignal,
  ): Promise<ProviderAnswer> {
    const { timeoutMs } = this.#options;
    const options = { binaries, environment, signal, ...(timeoutMs !== undefined && { timeoutMs }) };
    const answer = await askExecProvider(provider, image, options);
    if (answer.cacheMs === 0) return answer;
    const now = this.#now();
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= maxKept && oldest !== undefined) this.#kept.delete(oldest);
    const key = keptKey(provider, answer.cacheKeyType, image);
    this.#kept.set(key, { answer, askedAtMs: now, expiresAtMs: now + answer.cacheMs });
    return answer;
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

function keptKey(provider: ExecProvider, type: ProviderAnswer["cacheKeyType"], image: string): string {
  const part = { Image: image, Registry: image.split("/")[0], Global: "" }[type];
  return `${provider.name} ${type} ${part}`;
}

/** Those whose keys fit the image, in the order in which kubelet tries them (`pkg/credentialprovider/keyring.go`). */
function candidates(given: readonly Given[], image: string): Credential[] {
  const all = given.flatMap((auth) => Object.entries(auth).map(([key, entry]) => ({ key: plainKey(key), entry })));
  const entries = all.filter(({ entry }) => entry.username !== "" || entry.password !== "");
  const fitting = entries.filter(({ key }) => matchesImage(key, image));
  // Docker's own key for Docker Hub fits all its images, when nothing else does.
  const isHub = /^(?:index\.)?docker\.io\//.test(image);
  const found = fitting.length > 0 || !isHub ? fitting : entries.filter(({ key }) => key === "index.docker.io");
  return found
    .sort((a, b) => bySpecificity(a.key, b.key))
    .map(({ entry }) => ({ kind: "password", username: entry.username, password: entry.password }));
}

/** Without scheme, and without what docker writes for the whole host. */
function plainKey(key: string): string {
  const [, host = "", path = ""] = /^([^/]*)(.*)$/s.exec(key.replace(/^https?:\/\//, "")) ?? [];
  const below = /^\/v[12]\//.test(path) ? path.slice(3) : path;
  return below === "/" ? host : `${host}${below}`;
}
