import { type Digest, isDigest } from "../descriptor.ts";
import type { Endpoint } from "./endpoint.ts";
import type { HttpAnswer } from "./transport.ts";

/** How a tag's manifest is asked for. */
export type TagQuestion = {
  readonly endpoint: Endpoint;
  /** `repository:tag`. */
  readonly name: string;
  /** What the tag stood for when last asked. */
  readonly known: Digest | undefined;
  /** Asks by HEAD, with `If-None-Match` where there is something to compare with. Gives any answer but failures that GET would meet too. */
  readonly head: (ifNoneMatch: string | undefined) => Promise<HttpAnswer>;
  /** Asks by GET: the digest of the bytes that come. */
  readonly get: () => Promise<{ readonly digest: Digest; readonly etag: string | undefined }>;
};

type Tagged = { readonly etag: string; readonly digest: Digest };

const maxRemembered = 10_000;

/**
 * Finds out what a tag stands for without reading its manifest: by HEAD, whose answer has `Docker-Content-Digest` (OCI distribution spec,
 * "Pulling manifests"), mostly just "not modified". Remembers the ETags of servers that do not take the digest for it.
 */
export class TagLookup {
  readonly #tagged = new Map<string, Tagged>();

  async digest(question: TagQuestion): Promise<Digest> {
    const { known, head, get } = question;
    const key = `${question.endpoint.origin}${question.endpoint.apiPath} ${question.name}`;
    const last = this.#tagged.get(key);
    const compared = last ?? (known === undefined ? undefined : { etag: `"${known}"`, digest: known });
    const answer = await head(compared?.etag);
    await answer.discard();
    const said = answer.header("docker-content-digest");
    if (answer.status === 304 && compared && (said === undefined || said === compared.digest)) return compared.digest;
    if (answer.status === 200 && said !== undefined && isDigest(said)) {
      this.#remember(key, answer.header("etag"), said);
      return said;
    }
    const read = await get();
    this.#remember(key, read.etag, read.digest);
    return read.digest;
  }

  #remember(key: string, etag: string | undefined, digest: Digest): void {
    this.#tagged.delete(key);
    if (etag === undefined || etag === `"${digest}"` || !/^(?:W\/)?"[\x21\x23-\x7e]{1,200}"$/.test(etag)) return;
    const [oldest] = this.#tagged.keys();
    if (this.#tagged.size >= maxRemembered && oldest !== undefined) this.#tagged.delete(oldest);
    this.#tagged.set(key, { etag, digest });
  }
}
