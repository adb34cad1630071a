/** The next flush begins whenever this much has been written since the last one began. */
export const flushBytes = 16 << 20;

/** Sends a file to the disk in the background while it is written, so that the end need not wait for all of it. */
export class WriteBack {
  readonly #flush: () => Promise<void>;
  #sinceFlush = 0;
  #isWanted = false;
  #isStopped = false;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** `flush` sends what was written before it is called; one runs at a time. */
  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** So many more bytes are written. */
  wrote(bytes: number): void {
    this.#sinceFlush += bytes;
    if (this.#sinceFlush >= flushBytes) this.begin();
  }

  /** Flushes what is written so far, after the flush that may be under way. Does nothing after `stop` or a failure. */
  begin(): void {
    this.#isWanted = true;
    this.#running ??= this.#run();
  }

  /**
   * Throws what the first flush that failed threw. Linux tells an open file of an error of writing back once (`errseq_t`,
   * `Documentation/core-api/errseq.rst`): a later sync of it succeeds, though bytes are lost.
   */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Begins no more flushes, and resolves when none is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#isWanted && !this.#isStopped && this.#failure === undefined) {
      this.#isWanted = false;
      this.#sinceFlush = 0;
      try {
        await this.#flush();
      } catch (error) {
        this.#failure = { error };
      }
    }
    this.#running = undefined;
  }
}
