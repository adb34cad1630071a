const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const unitBytes: Readonly<Record<string, number>> = {
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Milliseconds of `90s`, `1h30m` and the like; 0 for what is no duration. */
export function durationMs(text: string): number {
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, count, unit = ""]) => sum + Number(count) * (unitMs[unit] ?? 0),
    0,
  );
}

/** Bytes of `50M`, `64Mi` and the like; NaN for what is none. */
export function quantityBytes(text: string): number {
  const [, count, unit = ""] = /^(\d+)(\w*)$/.exec(text) ?? [];
  return Number(count) * (unitBytes[unit] ?? 1);
}
