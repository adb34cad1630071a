export type Dropped = { readonly what: string; readonly why: string; readonly count: number };

/** Different things counted one by one; what follows is summed up, as a hostile layer could name endlessly many. */
const maximumKinds = 64;

/** Counts what a layer has and a node would not. */
export class DropCounter {
  readonly #counts = new Map<string, { why: string; count: number }>();

  add(what: string, why: string): void {
    const known = this.#counts.get(what);
    if (known !== undefined) known.count++;
    else if (this.#counts.size < maximumKinds || what === "others") this.#counts.set(what, { why, count: 1 });
    else this.add("others", "there are too many kinds to list");
  }

  list(): Dropped[] {
    return [...this.#counts]
      .map(([what, { why, count }]) => ({ what, why, count }))
      .sort((a, b) => (a.what < b.what ? -1 : 1));
  }
}
