import { markdownTable, significant } from "../measure/table.ts";

/** One figure of the table. */
export type Figure = {
  readonly part: string;
  readonly what: string;
  readonly unit: string;
  readonly value: number;
  /** `undefined` for what is told, and has no target. */
  readonly target: number | undefined;
  /** Least and greatest of the runs, where the value is their median. */
  readonly range?: readonly [number, number];
};

/** `ok` when the value is at most the target. */
export function figuresTable(figures: readonly Figure[]): string {
  const head = ["figure", "value", "unit", "runs", "target", ""];
  return markdownTable(
    head,
    figures.map(({ part, what, unit, value, target, range }) => [
      `${part}: ${what}`,
      shown(value),
      unit,
      range === undefined ? "" : `${shown(range[0])} to ${shown(range[1])}`,
      target === undefined ? "" : shown(target),
      target === undefined ? "" : value <= target ? "ok" : "OVER",
    ]),
  );
}

function shown(value: number): string {
  if (Math.abs(value) < 10)
    return value
      .toFixed(Math.abs(value) < 0.1 ? 4 : 3)
      .replace(/(\.\d*?)0+$/, "$1")
      .replace(/\.$/, "");
  return significant(value);
}
