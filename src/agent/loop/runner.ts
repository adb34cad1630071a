import { type Action, keyOf } from "../decide/action.ts";

export type Running = { readonly action: Action; readonly abort: AbortController; readonly ended: Promise<void> };

/** How many of a kind run side by side. The runtime has each other wait for the rest; fetches are bounded where they are decided. */
const places: Readonly<Partial<Record<Action["type"], number>>> = { resolve: 8, inject: 2, "set-name": 8, release: 8 };

/** What need not be finished once nobody wants it. */
const breakable: ReadonlySet<string> = new Set(["resolve", "fetch", "chains"]);

export type RunnerOptions = {
  /** Does it, and never throws. */
  readonly run: (action: Action, signal: AbortSignal) => Promise<void>;
  readonly onEnd: () => void;
};

/** Runs actions side by side, none twice at once, and breaks off those that are no longer wanted. */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #running = new Map<string, Running>();
  /** Keys of what ended since the last `clearEnded`. */
  readonly #ended = new Map<string, string>();
  /** By key: the last of the wishes of persons, which come one after the other. */
  readonly #taken = new Map<string, Promise<unknown>>();

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#running.size === 0 && this.#taken.size === 0;
  }

  /** Type of action by key: of what runs, and of what ended since `clearEnded`. */
  get keys(): ReadonlyMap<string, string> {
    const running = [...this.#running].map(([key, { action }]) => [key, action.type] as const);
    return new Map([...this.#ended, ...running, ...[...this.#taken.keys()].map((key) => [key, "by-hand"] as const)]);
  }

  get actions(): readonly Action[] {
    return [...this.#running.values()].map(({ action }) => action);
  }

  /** From now on the world is looked at: what ends after this may look unfinished in it. */
  clearEnded(): void {
    this.#ended.clear();
  }

  /** Starts what is wanted and has a place, in this order, and breaks off what stands in its way. What ended of late waits for a new look. */
  follow(wanted: readonly Action[]): void {
    const byKey = new Map(wanted.map((action) => [keyOf(action), action]));
    const isUrgent = wanted.some(({ type }) => type === "inject" || type === "eject");
    for (const [key, { action, abort }] of this.#running) {
      const now = byKey.get(key)?.type;
      const isUnwanted = now === undefined && breakable.has(action.type);
      const isOther = now !== undefined && now !== action.type;
      if (isUnwanted || isOther || (isUrgent && action.type === "chains")) abort.abort(new Error("no longer wanted"));
    }
    for (const [key, action] of byKey) {
      if (this.#running.has(key) || this.#ended.has(key) || this.#taken.has(key)) continue;
      const beside = this.actions.filter(({ type }) => type === action.type).length;
      if (beside < (places[action.type] ?? Number.POSITIVE_INFINITY)) this.#start(key, action);
    }
  }

  /** Does something by hand under a key, after what runs under it has been broken off and earlier wishes are done. */
  async take<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#taken.get(key);
    const taking = this.#afterAll(key, before, work);
    const ended = taking.catch(() => {});
    this.#taken.set(key, ended);
    try {
      return await taking;
    } finally {
      if (this.#taken.get(key) === ended) this.#taken.delete(key);
      this.#ended.set(key, "by-hand");
      this.#options.onEnd();
    }
  }

  async #afterAll<Result>(
    key: string,
    before: Promise<unknown> | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> {
    await before;
    const running = this.#running.get(key);
    running?.abort.abort(new Error("a person wishes something else"));
    await running?.ended;
    return work();
  }

  /** Breaks off everything, and waits for it. */
  async stop(reason: unknown): Promise<void> {
    const running = [...this.#running.values()];
    for (const { abort } of running) abort.abort(reason);
    await Promise.all(running.map(({ ended }) => ended));
  }

  #start(key: string, action: Action): void {
    const abort = new AbortController();
    const ended = this.#options.run(action, abort.signal).finally(() => {
      this.#running.delete(key);
      this.#ended.set(key, action.type);
      this.#options.onEnd();
    });
    this.#running.set(key, { action, abort, ended });
  }
}
