/** A content above 1 MiB: a digest for each chunk, zeros for a hole. */
export type LargeContent = { readonly digests: Uint8Array; readonly storedChunks: number };

type Ended = {
  readonly sizeBytes: number;
  readonly digests: Uint8Array;
  /** Whether chunks were asked to be written. */
  readonly isWriting: boolean;
  readonly firstBlock: number;
};

/**
 * Compares a large content with the known ones while it comes, chunk by chunk: as long as some known content of the same size
 * begins with the same chunks nothing needs to be written, and a repeated content never is.
 */
export class LargeContentMatcher {
  readonly #contents: Map<number, LargeContent>;
  /** Contents by size and first chunk. */
  readonly #candidates = new Map<string, number[]>();
  readonly #keys = new Map<number, string>();
  #sizeBytes = 0;
  #digests = new Uint8Array(0);
  #chunks = 0;
  #candidate: number | undefined;
  #isWriting = false;
  /** Where the content that is being written begins; set by the caller when writing begins. */
  firstBlock = 0;

  constructor(contents: Map<number, LargeContent>) {
    this.#contents = contents;
  }

  get isWriting(): boolean {
    return this.#isWriting;
  }

  begin(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
    this.#digests = new Uint8Array(32 * Math.ceil(sizeBytes / (1 << 20)));
    this.#chunks = 0;
    this.#candidate = undefined;
    this.#isWriting = false;
  }

  /**
   * The next chunk. When the content is first seen to be none of the known ones, writing begins; the result then names the content
   * with which it shares the chunks before this one.
   */
  chunk(digest: Uint8Array): { readonly content: number; readonly chunks: number } | undefined {
    const index = this.#chunks++;
    this.#digests.set(digest, 32 * index);
    if (this.#isWriting) return undefined;
    const before = this.#candidate;
    // What matched so far needs only its last chunk compared.
    if (before === undefined || !this.#matches(before, index)) this.#candidate = this.#find();
    if (this.#candidate !== undefined) return undefined;
    this.#isWriting = true;
    return before === undefined ? undefined : { content: before, chunks: index };
  }

  end(): Ended {
    return {
      sizeBytes: this.#sizeBytes,
      digests: this.#digests,
      isWriting: this.#isWriting,
      firstBlock: this.firstBlock,
    };
  }

  add(content: number, sizeBytes: number, digests: Uint8Array): void {
    let storedChunks = 0;
    for (let i = 0; i < digests.length; i += 32)
      if (digests.subarray(i, i + 32).some((byte) => byte !== 0)) storedChunks++;
    this.#contents.set(content, { digests, storedChunks });
    const key = candidateKey(sizeBytes, digests);
    this.#keys.set(content, key);
    const same = this.#candidates.get(key);
    if (same === undefined) this.#candidates.set(key, [content]);
    else same.push(content);
  }

  remove(content: number): void {
    this.#contents.delete(content);
    const key = this.#keys.get(content);
    if (key === undefined) return;
    this.#keys.delete(content);
    const rest = (this.#candidates.get(key) ?? []).filter((other) => other !== content);
    if (rest.length === 0) this.#candidates.delete(key);
    else this.#candidates.set(key, rest);
  }

  /** Whether `content` has the same chunks from `firstChunk` up to the last one given. */
  #matches(content: number, firstChunk: number): boolean {
    const known = this.#contents.get(content)?.digests;
    if (known === undefined) return false;
    for (let i = 32 * firstChunk; i < 32 * this.#chunks; i++) if (known[i] !== this.#digests[i]) return false;
    return true;
  }

  #find(): number | undefined {
    return this.#candidates
      .get(candidateKey(this.#sizeBytes, this.#digests))
      ?.find((content) => this.#matches(content, 0));
  }
}

function candidateKey(sizeBytes: number, digests: Uint8Array): string {
  return `${sizeBytes}:${Buffer.from(digests.buffer, digests.byteOffset, 32).toString("base64")}`;
}
