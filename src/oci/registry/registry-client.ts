import type { Credential, CredentialLookup } from "../credentials/credential.ts";
import type { Descriptor, Digest } from "../descriptor.ts";
import { digestOf, documentMediaType, indexMediaTypes, manifestMediaTypes } from "../image-documents.ts";
import type { OciLimits } from "../limits.ts";
import { OciError } from "../oci-error.ts";
import { documentTooLarge, type ReadDocumentOptions } from "../resolve-image.ts";
import type { ImageDocument, OpenLayerOptions } from "../resolved-image.ts";
import { Authorizer } from "./authorizer.ts";
import { type OpenedBlob, transferBlob } from "./blob-transfer.ts";
import { type Endpoint, type EndpointSource, plainTls, type Repository } from "./endpoint.ts";
import { EndpointDirectory } from "./endpoint-directory.ts";
import type { ProxyChoice } from "./proxies.ts";
import { readAtMost } from "./read-at-most.ts";
import { registryFailure } from "./registry-failure.ts";
import type { RequestPacer } from "./request-pacer.ts";
import type { RequestWatcher } from "./request-watcher.ts";
import { type RetryPolicy, TryAgain, withRetries } from "./retry.ts";
import { Semaphore } from "./semaphore.ts";
import { TagLookup } from "./tag-lookup.ts";
import { type HttpAnswer, Transport } from "./transport.ts";

export type RegistryOptions = {
  readonly endpoints: EndpointSource;
  /** What the source says is asked for again when it is older. Default: never. */
  readonly reloadAfterMs?: number;
  /** PEM, trusted in addition to those of the system. */
  readonly authorities: readonly string[];
  readonly credentials: CredentialLookup;
  readonly limits: OciLimits;
  /** Blobs read at once from one registry, at least 1. */
  readonly parallelism: number;
  readonly userAgent: string;
  readonly proxyFor: ProxyChoice;
  /** Default: a server is asked as soon as there is something to ask. */
  readonly pacer?: RequestPacer;
  readonly watcher?: RequestWatcher;
  /** Wait before the first retry. Default: 500. */
  readonly retryDelayMs?: number;
};

type Question = {
  readonly repository: Repository;
  /** Below the repository: `manifests/…`, `blobs/…`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Default: GET. */
  readonly method?: "HEAD";
  /** Further statuses that are an answer and no failure. */
  readonly passes?: readonly number[];
};

export type ResolveTagOptions = {
  /** For messages. */
  readonly what: string;
  /** What it stood for when last asked. */
  readonly known?: Digest | undefined;
  readonly signal: AbortSignal;
};

const accept = [
  ...indexMediaTypes,
  ...manifestMediaTypes,
  "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1",
];

/** The pull side of the OCI distribution spec, for any number of registries. */
export class RegistryClient {
  readonly #transport: Transport;
  readonly #authorizer: Authorizer;
  readonly #endpoints: EndpointDirectory;
  readonly #policy: RetryPolicy;
  readonly #limits: OciLimits;
  readonly #parallelism: number;
  readonly #places = new Map<string, Semaphore>();
  readonly #tags = new TagLookup();
  readonly #pacer: RequestPacer | undefined;
  readonly #watcher: RequestWatcher | undefined;

  constructor(options: RegistryOptions) {
    const { limits } = options;
    this.#transport = new Transport({ ...options, stallMs: limits["stall-seconds"] * 1000 });
    this.#authorizer = new Authorizer(this.#transport, options.credentials);
    this.#endpoints = new EndpointDirectory(options.endpoints, {
      ...options,
      onReplaced: (tls) => this.#transport.release(tls),
    });
    this.#pacer = options.pacer;
    this.#watcher = options.watcher;
    this.#limits = limits;
    this.#parallelism = options.parallelism;
    this.#policy = {
      maxRetries: limits["fetch-retries"],
      baseDelayMs: options.retryDelayMs ?? 500,
      maxDelayMs: 15_000,
      maxRetryAfterMs: limits["retry-after-seconds"] * 1000,
      onRetry: () => this.#watcher?.retried(),
    };
  }

  /** What a tag or digest stands for: an index or a manifest. Throws `OciError`. */
  async resolve(repository: Repository, reference: string, what: string, signal: AbortSignal): Promise<ImageDocument> {
    const maxBytes = this.#limits["manifest-bytes"];
    const tooLarge = () => documentTooLarge(`The manifest of ${what}`, maxBytes, "manifest-bytes");
    const isDigest = reference.startsWith("sha256:");
    const question = { repository, path: `manifests/${reference}`, headers: { accept: accept.join(", ") }, signal };
    return this.#document(question, isDigest ? "pulls" : "resolves", what, async (answer) => {
      const bytes = await readAtMost(checkLength(answer, maxBytes, tooLarge), maxBytes, tooLarge);
      const digest = digestOf(bytes);
      checkDigest(digest, isDigest ? reference : undefined, `What the registry gives for ${what}`);
      checkDigest(digest, answer.header("docker-content-digest"), `The manifest of ${what}`);
      const mediaType = documentMediaType(bytes, contentType(answer), what);
      return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
    });
  }

  /**
   * What a tag stands for now, by HEAD where the server can; the manifest is read only where it does not tell the digest. Tries again a
   * few times; a server that asks for a longer pause is left alone. Throws `OciError`.
   */
  async resolveTag(repository: Repository, tag: string, { what, known, signal }: ResolveTagOptions): Promise<Digest> {
    const headers = { accept: accept.join(", ") };
    const question = { repository, path: `manifests/${tag}`, headers, signal };
    const maxBytes = this.#limits["manifest-bytes"];
    const tooLarge = () => documentTooLarge(`The manifest of ${what}`, maxBytes, "manifest-bytes");
    return withRetries(tagPolicy(this.#policy), signal, () =>
      this.#endpoints.firstWorking(repository, "resolves", signal, (endpoint) =>
        this.#tags.digest({
          endpoint,
          name: `${repository.path}:${tag}`,
          known,
          head: (etag) => {
            const asked = etag === undefined ? headers : { ...headers, "if-none-match": etag };
            const passes = etag === undefined ? headRefusals : [...headRefusals, 304];
            return this.#ask(endpoint, { ...question, method: "HEAD", headers: asked, passes }, what, "tag");
          },
          get: async () => {
            const answer = await this.#ask(endpoint, question, what, "tag");
            const bytes = await readAtMost(checkLength(answer, maxBytes, tooLarge), maxBytes, tooLarge);
            documentMediaType(bytes, contentType(answer), what);
            const digest = digestOf(bytes);
            checkDigest(digest, answer.header("docker-content-digest"), `The manifest of ${what}`);
            return { digest, etag: answer.header("etag") };
          },
        }),
      ),
    );
  }

  /** The bytes of a document by its descriptor; the digest is checked. Throws `OciError`. */
  async readDocument(
    repository: Repository,
    descriptor: Descriptor,
    options: ReadDocumentOptions,
  ): Promise<Uint8Array> {
    const { kind, maxBytes, limit, signal } = options;
    const { digest, mediaType } = descriptor;
    const what = `the ${kind} ${digest} of ${repository.host}/${repository.path}`;
    const tooLarge = () => documentTooLarge(what, maxBytes, limit);
    const isManifest = kind === "manifest";
    const path = `${isManifest ? "manifests" : "blobs"}/${digest}`;
    const question = { repository, path, headers: { accept: isManifest ? mediaType : "*/*" }, signal };
    return this.#document(question, "pulls", what, async (answer) => {
      const bytes = await readAtMost(checkLength(answer, maxBytes, tooLarge), maxBytes, tooLarge);
      checkDigest(digestOf(bytes), digest, what);
      return bytes;
    });
  }

  /** The bytes of a blob; see `ResolvedImage.openLayer`. Foreign layers come from their `urls` if the registry lacks them. */
  async *openBlob(
    repository: Repository,
    descriptor: Descriptor,
    { signal, range }: OpenLayerOptions,
  ): AsyncGenerator<Uint8Array> {
    const leave = await this.#placesOf(repository.host).acquire(signal);
    try {
      let urls: readonly string[] = [];
      const open = async (offset: number): Promise<OpenedBlob> => {
        const last = range === undefined ? "" : range.offset + range.length - 1;
        const isAll = offset === 0 && (range === undefined || range.length === descriptor.size);
        const headers: Record<string, string> = isAll ? {} : { range: `bytes=${offset}-${last}` };
        if (urls.length > 0) return this.#openForeign(urls, headers, signal);
        try {
          return await this.#openHere({ repository, path: `blobs/${descriptor.digest}`, headers, signal });
        } catch (error) {
          if (!descriptor.urls?.length || !(error instanceof OciError) || error.code !== "not-found") throw error;
          urls = descriptor.urls;
          return this.#openForeign(urls, headers, signal);
        }
      };
      yield* transferBlob({ descriptor, range, open, policy: this.#policy, signal });
    } finally {
      leave();
    }
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  #document<T>(
    question: Question,
    need: "resolves" | "pulls",
    what: string,
    read: (answer: HttpAnswer) => Promise<T>,
  ): Promise<T> {
    const { repository, signal } = question;
    return withRetries(this.#policy, signal, () =>
      this.#endpoints.firstWorking(repository, need, signal, async (endpoint) =>
        read(await this.#ask(endpoint, question, what)),
      ),
    );
  }

  #openHere(question: Question): Promise<OpenedBlob> {
    const { repository, signal } = question;
    const what = `a blob of ${repository.host}/${repository.path}`;
    return this.#endpoints.firstWorking(repository, "pulls", signal, async (endpoint) => {
      const answer = await this.#ask(endpoint, question, what);
      return { answer, failed: (error) => this.#endpoints.setAside(endpoint, error) };
    });
  }

  async #openForeign(
    urls: readonly string[],
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<OpenedBlob> {
    let failure: unknown;
    for (const text of urls) {
      const url = URL.parse(text);
      if (url?.protocol !== "https:" && url?.protocol !== "http:") {
        failure ??= new OciError("registry-protocol", "A foreign layer has a URL that is not http or https");
        continue;
      }
      try {
        const answer = await this.#transport.send({
          method: "GET",
          url,
          privateHeaders: {},
          headers,
          tls: plainTls,
          signal,
        });
        if (isContent(answer)) return { answer, failed: () => {} };
        failure = await registryFailure(answer, "a foreign layer", []);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  /** An answer with content, after authorization where the server asks for it. Throws `TryAgain`, `OciError`. */
  async #ask(
    endpoint: Endpoint,
    question: Question,
    what: string,
    kind: "tag" | "content" = "content",
  ): Promise<HttpAnswer> {
    const server = new URL(endpoint.origin).host;
    await this.#pacer?.turn(server, kind, question.signal);
    this.#watcher?.asked(server, kind);
    try {
      const answer = await this.#askAuthorized(endpoint, question, what);
      this.#pacer?.served(server);
      return answer;
    } catch (error) {
      if (error instanceof TryAgain) {
        const isLimit = error.failure instanceof OciError && error.failure.code === "rate-limited";
        if (isLimit || error.retryAfterMs !== undefined) this.#pacer?.limited(server, error.retryAfterMs);
      }
      throw error;
    }
  }

  async #askAuthorized(endpoint: Endpoint, question: Question, what: string): Promise<HttpAnswer> {
    const { repository, path, headers, signal, method = "GET", passes = [] } = question;
    const url = new URL(`${endpoint.origin}${endpoint.apiPath}/${repository.path}/${path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set("ns", endpoint.namespace);
    const refused: Credential[] = [];
    let failure: Error | undefined;
    for (let round = 0; ; round++) {
      const grant = await this.#authorizer.grant(endpoint, repository.path, refused, signal);
      if (!grant && failure) throw failure;
      const answer = await this.#transport.send({
        method,
        url,
        privateHeaders: { ...endpoint.headers, ...(grant && { authorization: grant.header }) },
        headers,
        tls: endpoint.tls,
        proxy: endpoint.proxy,
        signal,
      });
      if (isContent(answer) || passes.includes(answer.status)) return answer;
      const isOurs = answer.status === 401 && answer.url.origin === url.origin;
      failure = await registryFailure(answer, what, grant?.secrets ?? []);
      if (!isOurs || !this.#authorizer.challenged(endpoint, repository.path, answer, { grant, refused, round })) {
        throw failure;
      }
    }
  }

  #placesOf(host: string): Semaphore {
    let places = this.#places.get(host);
    if (!places) {
      places = new Semaphore(this.#parallelism);
      this.#places.set(host, places);
    }
    return places;
  }
}

/** What servers that do not know HEAD, or do not allow it, say; GET then tells what is the matter. */
const headRefusals = [400, 403, 405, 406, 501];

/** Whoever asks for a tag does so again before long. */
function tagPolicy(policy: RetryPolicy): RetryPolicy {
  return { ...policy, maxRetries: Math.min(policy.maxRetries, 2), givesUpBeyondMs: 5000 };
}

/** 416 says something of the content too: where it ends. */
function isContent({ status }: HttpAnswer): boolean {
  return status === 200 || status === 206 || status === 416;
}

function contentType(answer: HttpAnswer): string | undefined {
  return answer.header("content-type")?.split(";")[0]?.trim();
}

function checkLength(answer: HttpAnswer, maxBytes: number, tooLarge: () => Error): AsyncIterable<Uint8Array> {
  if (Number(answer.header("content-length") ?? 0) <= maxBytes) return answer.body;
  return failing(answer, tooLarge());
}

/** Closes the connection instead of reading what is too large. */
// biome-ignore lint/correctness/useYield: it only ever throws
async function* failing(answer: HttpAnswer, error: Error): AsyncGenerator<Uint8Array> {
  await answer.discard();
  throw error;
}

/** Digests by other algorithms than SHA-256 say nothing that we could compare. */
function checkDigest(actual: Digest, expected: string | undefined, what: string): void {
  if (expected === undefined || !expected.startsWith("sha256:") || expected === actual) return;
  throw new OciError("digest-mismatch", `${what} has the digest ${actual} instead of ${expected}`);
}
