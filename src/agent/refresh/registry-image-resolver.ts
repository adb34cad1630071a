import type { CredentialLookup } from "../../oci/credentials/credential.ts";
import type { Digest, Platform } from "../../oci/descriptor.ts";
import { limitValues } from "../../oci/limit.ts";
import { type OciLimits, ociLimits } from "../../oci/limits.ts";
import { OciError } from "../../oci/oci-error.ts";
import { formatReference, type Reference } from "../../oci/reference.ts";
import type { Endpoint, Repository } from "../../oci/registry/endpoint.ts";
import { goProxies, type ProxyChoice } from "../../oci/registry/proxies.ts";
import type { RegistryClient } from "../../oci/registry/registry-client.ts";
import type { RequestWatcher } from "../../oci/registry/request-watcher.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import type { RegistryAccess } from "../../runtime/registry-access.ts";
import { type AgentCredentialOptions, agentCredentials } from "./agent-credentials.ts";
import { inWordsOfAgent } from "./agent-words.ts";
import type { ImageResolver, ResolveTagOptions } from "./image-resolver.ts";
import { overrideOf, withOverride } from "./registry-override.ts";
import type { RegistrySettings } from "./registry-settings.ts";
import { RequestBudget } from "./request-budget.ts";

export type RegistryResolverOptions = {
  /** How the runtime reaches registries, asked again now and then. */
  readonly access: () => Promise<RegistryAccess>;
  /** What `AgentConfig` says now. */
  readonly settings: () => RegistrySettings;
  /** That of this process: for credential helpers, and to find docker's files. */
  readonly environment: NodeJS.ProcessEnv;
  /** Layers read at once from one registry. Default: 6. */
  readonly parallelism?: number;
  readonly userAgent?: string;
  /** Values by name of `ociLimits`. */
  readonly limits?: Readonly<Record<string, number>>;
  /** How old what was read of registries may be, in hosts.toml and in `AgentConfig`. Default: 10 s. */
  readonly reloadAfterMs?: number;
  /** How old what was read of the runtime may be. Default: 60 s. */
  readonly accessAgeMs?: number;
  readonly watcher?: RequestWatcher;
  /** Wait before the first new attempt. Default: 500. */
  readonly retryDelayMs?: number;
  /** Default: found by the processes of this node. */
  readonly kubelet?: AgentCredentialOptions["kubelet"];
};

/** As long as the runtime does not run and only its files are known. */
const filesAgeMs = 2000;
const defaultRate = { perSecond: 5, burst: 20 };

/** Asks registries as the runtime of this node would: the same servers in the same order, certificates and proxies. */
export class RegistryImageResolver implements ImageResolver {
  readonly #options: RegistryResolverOptions;
  readonly #limits: OciLimits;
  /** Those that it uses itself, for pulls that are left to a runtime. */
  readonly credentials: CredentialLookup;
  readonly #providerProblems = new Map<string, string>();
  readonly #fileProblems = new Map<string, string>();
  #access: { readonly value: Promise<RegistryAccess>; readonly atMs: number } | undefined;
  #proxies: ProxyChoice = () => undefined;
  #client: Promise<RegistryClient> | undefined;
  #isClosed = false;

  constructor(options: RegistryResolverOptions) {
    const { settings, environment, kubelet } = options;
    this.#options = options;
    this.#limits = limitValues(ociLimits, options.limits);
    this.credentials = agentCredentials({
      settings,
      environment,
      runtime: async (...asked) => (await this.#currentAccess()).credentials(...asked),
      onProblem: (provider, message) => {
        if (message === undefined) this.#providerProblems.delete(provider);
        else this.#providerProblems.set(provider, message);
      },
      ...(kubelet && { kubelet }),
    });
  }

  /** What is wrong with credential providers and with the runtime's registry configuration, for a person; never holds a secret. */
  get problems(): readonly string[] {
    return [...this.#providerProblems.values(), ...this.#fileProblems.values()];
  }

  async resolveTag(reference: Reference, { signal, known }: ResolveTagOptions): Promise<Digest> {
    const { host, repository, tag = "latest" } = reference;
    const what = formatReference({ host, repository, tag });
    return this.#asking(what, signal, (client) =>
      client.resolveTag({ host, path: repository }, tag, { what, known, signal }),
    );
  }

  async openImage(
    reference: Reference,
    digest: Digest,
    platform: Platform,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<ResolvedImage> {
    const { host, repository } = reference;
    const wanted: Reference = { host, repository, digest };
    const { RegistrySource } = await import("../../oci/registry/registry-source.ts");
    return this.#asking(formatReference(wanted), signal, (client) =>
      new RegistrySource(wanted, client, this.#limits).resolve(platform, { signal }),
    );
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await (await this.#client)?.close();
  }

  async #asking<T>(what: string, signal: AbortSignal, ask: (client: RegistryClient) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new OciError("registry-unreachable", `Cannot ask for ${what}: connections are closed`);
    try {
      await this.#currentAccess();
      this.#client ??= this.#openClient();
      return await ask(await this.#client);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof OciError ? inWordsOfAgent(error, [...this.#providerProblems.values()]) : error;
    }
  }

  /** Loads what speaks to registries when it is first needed. */
  async #openClient(): Promise<RegistryClient> {
    const { RegistryClient } = await import("../../oci/registry/registry-client.ts");
    const { parallelism = 6, userAgent = "nodewarm", reloadAfterMs = 10_000, retryDelayMs, watcher } = this.#options;
    return new RegistryClient({
      endpoints: { key: (repository) => this.#key(repository), load: (repository) => this.#load(repository) },
      reloadAfterMs,
      authorities: [],
      credentials: this.credentials,
      limits: this.#limits,
      parallelism,
      userAgent,
      proxyFor: (url) => this.#proxies(url),
      pacer: new RequestBudget({ rateOf: (server) => this.#rateOf(server) }),
      ...(retryDelayMs !== undefined && { retryDelayMs }),
      ...(watcher && { watcher }),
    });
  }

  #key(repository: Repository): string {
    return `${repository.host} ${overrideOf(this.#options.settings().registries, repository)?.prefix ?? ""}`;
  }

  async #load(repository: Repository): Promise<readonly Endpoint[]> {
    const { host } = repository;
    const access = await this.#currentAccess();
    this.#fileProblems.delete(host);
    const endpoints = await access.endpoints(host, (message) => void this.#fileProblems.set(host, message));
    const override = overrideOf(this.#options.settings().registries, repository);
    return override ? withOverride(endpoints, override, host) : endpoints;
  }

  /** By the entry for the server itself, whatever registry it is asked for. */
  #rateOf(server: string): { perSecond: number; burst: number } {
    const host = server === "registry-1.docker.io" ? "docker.io" : server;
    const override = overrideOf(this.#options.settings().registries, { host, path: "" });
    return override ? { perSecond: override.requestsPerSecond, burst: override.burst } : defaultRate;
  }

  /** What was read last of a daemon that ran holds on where it cannot be read again. */
  async #currentAccess(): Promise<RegistryAccess> {
    const { access, accessAgeMs = 60_000 } = this.#options;
    const last = this.#access;
    const known = last && (await last.value);
    const ageMs = known?.isRunning === false ? Math.min(accessAgeMs, filesAgeMs) : accessAgeMs;
    if (last && known && performance.now() - last.atMs < ageMs) return known;
    // Others who found the same are served by one reading.
    if (this.#access && this.#access !== last) return this.#access.value;
    const reading = access().then(
      (read) => (known?.isRunning && !read.isRunning ? known : read),
      (error: unknown) => {
        if (known) return known;
        this.#access = undefined;
        throw error;
      },
    );
    this.#access = { value: reading, atMs: performance.now() };
    const read = await reading;
    this.#proxies = goProxies(read.environment);
    return read;
  }
}
