/** One challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1); scheme and parameter names in lower case. */
export type Challenge = {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
};

const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const parameter = /[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))/y;
const maxHeaderLength = 16 << 10;

/** Every challenge in the header's values; what cannot be read is skipped. */
export function parseChallenges(values: readonly string[]): Challenge[] {
  const challenges: Challenge[] = [];
  for (const value of values) {
    if (value.length <= maxHeaderLength) parseValue(value, challenges);
  }
  return challenges;
}

function parseValue(value: string, challenges: Challenge[]): void {
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const found = pattern.exec(value);
    if (found) position = pattern.lastIndex;
    return found;
  };
  let current: Map<string, string> | undefined;
  while (position < value.length) {
    if (take(/[\s,]+/y)) continue;
    const found = current && take(parameter);
    if (current && found) {
      const [, name = "", quoted, plain] = found;
      current.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "");
      continue;
    }
    const scheme = take(token);
    if (!scheme) return;
    current = new Map();
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters: current });
  }
}
