import { diskLimits } from "../../disk/limits.ts";
import { layerLimits } from "../../layers/limits.ts";
import type { Limit } from "../../oci/limit.ts";
import { ociLimits } from "../../oci/limits.ts";
import { suggestion } from "../closest-word.ts";
import { formatLimit } from "../format.ts";
import { UsageError } from "../usage-error.ts";

/** All limits that `--limit` knows, by name. */
export const limits: Readonly<Record<string, Limit>> = { ...ociLimits, ...layerLimits, ...diskLimits };

const factors: Readonly<Record<string, number>> = {
  "": 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Values by limit name from `NAME=VALUE` texts; throws `UsageError`. */
export function parseLimits(
  texts: readonly string[],
  table: Readonly<Record<string, Limit>> = limits,
): Readonly<Record<string, number>> {
  const values: Record<string, number> = {};
  for (const text of texts) {
    const split = text.indexOf("=");
    if (split < 0) throw new UsageError(`--limit "${text}": write NAME=VALUE`);
    const name = text.slice(0, split);
    if (!Object.hasOwn(table, name)) {
      throw new UsageError(`--limit "${name}": no such limit${suggestion(name, Object.keys(table))}`);
    }
    if (Object.hasOwn(values, name)) throw new UsageError(`--limit "${name}" is given twice`);
    values[name] = parseValue(name, text.slice(split + 1), table[name]);
  }
  return values;
}

function parseValue(name: string, text: string, limit: Limit): number {
  const [, digits, suffix = ""] = /^(\d+(?:\.\d+)?)([KMGT]i?)?$/.exec(text) ?? [];
  const value = Number(digits) * factors[suffix];
  // No retries and no waiting make sense; nothing else works at 0.
  const zeroIsFine = limit.unit === "count" || limit.unit === "seconds";
  const whole = limit.unit === "ratio" || Number.isSafeInteger(value);
  if (digits === undefined || !whole || value > Number.MAX_SAFE_INTEGER || (value === 0 && !zeroIsFine)) {
    const kind = limit.unit === "ratio" ? "a number above 0" : `a whole number of ${unitNames[limit.unit]}`;
    throw new UsageError(
      `--limit "${name}=${text}": give ${kind}, with K, M, G, T (1000) or Ki, Mi, Gi, Ti (1024) if you like; ` +
        `the default is ${formatLimit(limit.default, limit.unit)}`,
    );
  }
  return value;
}

const unitNames = { bytes: "bytes", count: "items", seconds: "seconds", ratio: "times" } as const;
