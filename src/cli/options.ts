import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { suggestion } from "./closest-word.ts";
import { UsageError } from "./usage-error.ts";

/**
 * `parseArgs` of `node:util` with other words: an unknown option is named with the one that was probably meant, and one that makes no sense
 * twice, or is empty, is refused. Throws `UsageError`, or what `parseArgs` throws.
 */
export function parseOptions<Options extends ParseArgsOptionsConfig>(args: readonly string[], options: Options) {
  for (const arg of args) {
    if (arg === "--") break;
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(options, name)) continue;
    const known = Object.keys(options).map((each) => `--${each}`);
    throw new UsageError(`unknown option "--${name}"${suggestion(`--${name}`, known)}`);
  }
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options,
    allowPositionals: true,
    strict: true,
    tokens: true,
  });
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== "option" || options[token.name]?.type !== "string") continue;
    if (token.value === "") throw new UsageError(`${token.rawName} is empty`);
    if (options[token.name]?.multiple) continue;
    if (seen.has(token.name)) throw new UsageError(`${token.rawName} is given twice; give it once`);
    seen.add(token.name);
  }
  if (positionals.includes("")) throw new UsageError("an argument is empty");
  return { values, positionals };
}
