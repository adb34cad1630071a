/** A bound on hostile or mistaken input that `--limit NAME=VALUE` can move. */
export type Limit = {
  readonly default: number;
  readonly unit: "bytes" | "count" | "ratio" | "seconds";
  readonly description: string;
};

/** The values in force for a table of limits. */
export type LimitValues<Table extends Record<string, Limit>> = { readonly [Name in keyof Table]: number };

/** Every limit of `table` at its default, except those that `overrides` names. */
export function limitValues<Table extends Record<string, Limit>>(
  table: Table,
  overrides: Readonly<Record<string, number>> = {},
): LimitValues<Table> {
  const entries = Object.entries(table).map(([name, limit]) => [name, overrides[name] ?? limit.default]);
  return Object.fromEntries(entries) as LimitValues<Table>;
}
