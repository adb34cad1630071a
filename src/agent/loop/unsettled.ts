/** More names than this are not told apart. */
const maxNames = 1000;

/** Names whose records others are changing: who deletes several at once is not to be met halfway. */
export class Unsettled {
  readonly #untilMs = new Map<string, number>();

  /** What is left alone until a while after the last change of it. */
  note(name: string, untilMs: number): void {
    if (this.#untilMs.size < maxNames || this.#untilMs.has(name)) this.#untilMs.set(name, untilMs);
  }

  /** Those that are left alone still. */
  at(nowMs: number): ReadonlyMap<string, number> {
    for (const [name, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(name);
    return new Map(this.#untilMs);
  }
}
