import type { CredentialLookup } from "../credentials/credential.ts";
import type { Descriptor, Digest } from "../descriptor.ts";
import { digestOf, documentMediaType, indexMediaTypes, manifestMediaTypes } from "../image-documents.ts";
import type { OciLimits } from "../limits.ts";
import { OciError } from "../oci-error.ts";
import { documentTooLarge, type ReadDocumentOptions } from "../resolve-image.ts";
import type { ImageDocument, OpenLayerOptions } from "../resolved-image.ts";
import { Authorizer } from "./authorizer.ts";
import { type OpenedBlob, transferBlob } from "./blob-transfer.ts";
import { type Endpoint, plainTls } from "./endpoint.ts";
import { EndpointDirectory } from "./endpoint-directory.ts";
import { readAtMost } from "./read-at-most.ts";
import { registryFailure } from "./registry-failure.ts";
import { type RetryPolicy, withRetries } from "./retry.ts";
import { Semaphore } from "./semaphore.ts";
import { type HttpAnswer, Transport } from "./transport.ts";

export type RegistryOptions = {
  /** Hosts (as in references) to talk to without TLS. */
  readonly plainHttp: readonly string[];
  /** PEM, trusted in addition to those of the system. */
  readonly authorities: readonly string[];
  /** containerd's registry configuration: `DIR/<host>/hosts.toml`. */
  readonly hostsDirectory: string | undefined;
  readonly credentials: CredentialLookup;
  readonly limits: OciLimits;
  /** Blobs read at once from one registry, at least 1. */
  readonly parallelism: number;
  readonly userAgent: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Wait before the first retry. Default: 500. */
  readonly retryDelayMs?: number;
};

/** A repository in a registry. */
export type Repository = { readonly host: string; readonly path: string };

type Question = {
  readonly repository: Repository;
  /** Below the repository: `manifests/…`, `blobs/…`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
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

  constructor(options: RegistryOptions) {
    const { limits, authorities } = options;
    this.#transport = new Transport({ ...options, stallMs: limits["stall-seconds"] * 1000 });
    this.#authorizer = new Authorizer(this.#transport, options.credentials);
    this.#endpoints = new EndpointDirectory({ ...options, hasAuthorities: authorities.length > 0 });
    this.#limits = limits;
    this.#parallelism = options.parallelism;
    this.#policy = {
      maxRetries: limits["fetch-retries"],
      baseDelayMs: options.retryDelayMs ?? 500,
      maxDelayMs: 15_000,
      maxRetryAfterMs: limits["retry-after-seconds"] * 1000,
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
      this.#endpoints.firstWorking(repository.host, need, signal, async (endpoint) =>
        read(await this.#ask(endpoint, question, what)),
      ),
    );
  }

  #openHere(question: Question): Promise<OpenedBlob> {
    const { repository, signal } = question;
    const what = `a blob of ${repository.host}/${repository.path}`;
    return this.#endpoints.firstWorking(repository.host, "pulls", signal, async (endpoint) => {
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
  async #ask(endpoint: Endpoint, question: Question, what: string): Promise<HttpAnswer> {
    const { repository, path, headers, signal } = question;
    const url = new URL(`${endpoint.origin}${endpoint.apiPath}/${repository.path}/${path}`);
    if (endpoint.namespace !== undefined) url.searchParams.set("ns", endpoint.namespace);
    for (let isRepeated = false; ; isRepeated = true) {
      const authorization = await this.#authorizer.authorization(endpoint, repository.path, signal);
      const answer = await this.#transport.send({
        method: "GET",
        url,
        privateHeaders: { ...endpoint.headers, ...(authorization && { authorization: authorization.header }) },
        headers,
        tls: endpoint.tls,
        signal,
      });
      if (isContent(answer)) return answer;
      const isOurs = answer.status === 401 && answer.url.origin === url.origin;
      if (!isOurs || !this.#authorizer.challenged(endpoint, repository.path, answer, isRepeated)) {
        throw await registryFailure(answer, what, authorization?.secrets ?? []);
      }
      await answer.discard();
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
