/** What a failing input is made of: parts by name, such as the tar and what is stored of it. Each part is kept as a file. */
export type FuzzInput = Readonly<Record<string, Buffer>>;

/** A whole number from 0 to below `bound`. */
export type Random = (bound: number) => number;

/** One thing to fuzz. */
export type FuzzTarget = {
  /** Begins the names of kept inputs: lower case letters. */
  readonly name: string;
  /** Valid input, changed at random. */
  make(random: Random): FuzzInput;
  /** Rejects where the input is neither taken nor refused as it should be, or takes too long. */
  check(input: FuzzInput): Promise<void>;
};

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[random(items.length)] as Item;
}

/** Runs `work`; throws when it takes more than `limitMs` of processor time, which other programs of the machine do not lengthen. */
export async function inTime<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  const start = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(start);
  const usedMs = (user + system) / 1000;
  if (usedMs > limitMs) throw new Error(`takes ${Math.round(usedMs)} ms of processor time`);
  return result;
}
