import { createHash, type Hash } from "node:crypto";
import { type Descriptor, digestHex } from "../oci/descriptor.ts";
import { LayerError } from "./layer-error.ts";

/** The stored bytes of a layer on their way through: counted, hashed, compared with the descriptor. */
export class VerifiedInput {
  readonly #input: AsyncIterator<Uint8Array>;
  readonly #descriptor: Descriptor;
  readonly #onProgress: ((bytes: number) => void) | undefined;
  readonly #digest: () => string;
  readonly #hash: Hash | undefined;
  #bytesRead = 0;
  #isOver = false;
  #pending: Promise<Uint8Array | undefined> | undefined;

  constructor(
    input: AsyncIterable<Uint8Array>,
    descriptor: Descriptor,
    onProgress: ((bytes: number) => void) | undefined,
    /** The hex SHA-256 of all bytes, from who hashes them anyway. Else they are hashed here. */
    digest?: () => string,
  ) {
    this.#input = input[Symbol.asyncIterator]();
    this.#descriptor = descriptor;
    this.#onProgress = onProgress;
    const hash = digest === undefined ? createHash("sha256") : undefined;
    this.#hash = hash;
    this.#digest = digest ?? (() => hash?.digest("hex") ?? "");
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** The bytes. Throws `LayerError` ("size-mismatch") as soon as there are more than the descriptor says. */
  async *bytes(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const piece = await this.#next();
      if (piece === undefined) return;
      yield piece;
    }
  }

  /** All bytes were read: throws `LayerError` ("size-mismatch", "digest-mismatch") unless they are those of the descriptor. */
  verify(): void {
    const { size, digest } = this.#descriptor;
    if (this.#bytesRead !== size)
      throw new LayerError("size-mismatch", `the layer has ${this.#bytesRead} bytes, but the manifest says ${size}`);
    const actual = this.#digest();
    if (actual !== digestHex(digest))
      throw new LayerError("digest-mismatch", `the layer has digest sha256:${actual}, but the manifest says ${digest}`);
  }

  /** After bytes that made no sense: reads the rest and throws as `verify`, for wrong bytes are the better explanation. */
  async verifyRest(signal: AbortSignal): Promise<void> {
    while ((await this.#next()) !== undefined) signal.throwIfAborted();
    this.verify();
  }

  /** No more will be read. */
  close(): void {
    this.#isOver = true;
    void this.#input.return?.()?.then(undefined, () => {});
  }

  /** Two callers may wait at once, when one gave up on a read that hangs: both get the same piece. */
  #next(): Promise<Uint8Array | undefined> {
    this.#pending ??= this.#read().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #read(): Promise<Uint8Array | undefined> {
    if (this.#isOver) return undefined;
    const next = await this.#input.next();
    if (next.done) {
      this.#isOver = true;
      return undefined;
    }
    this.#bytesRead += next.value.length;
    if (this.#bytesRead > this.#descriptor.size) {
      this.close();
      throw new LayerError(
        "size-mismatch",
        `the layer has more bytes than the ${this.#descriptor.size} of the manifest`,
      );
    }
    this.#hash?.update(next.value);
    this.#onProgress?.(this.#bytesRead);
    return next.value;
  }
}
