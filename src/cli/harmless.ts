import type { CommandIo, Output } from "./command.ts";

/**
 * Names, lines and messages may come from a hostile disk or registry: what is neither text nor a line feed (control characters, those that
 * change direction or are not seen) reaches a terminal only as `\u001b`, which is also what JSON says for it.
 */
export function harmless(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

/** The same for what must not begin another line. */
export function oneLine(text: string): string {
  return harmless(text).replaceAll("\n", "\\u000a");
}

/** The same for a line of a progress display, which may have colours. */
export function harmlessColours(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control sequences
  const parts = line.split(/(\u001b\[[0-9;]*m)/);
  return parts.map((part, i) => (i % 2 === 0 ? oneLine(part) : part)).join("");
}

/** What a command may use of the process, with all text that it writes made harmless. Bytes go out as they are. */
export function harmlessIo(io: CommandIo): CommandIo {
  return Object.create(io, {
    stdout: { value: harmlessOutput(io.stdout) },
    stderr: { value: harmlessOutput(io.stderr) },
  }) as CommandIo;
}

function harmlessOutput(output: Output): Output {
  return new Proxy(output, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      if (key !== "write" && key !== "end") return value.bind(target);
      return (chunk: unknown, ...rest: unknown[]) =>
        value.call(target, typeof chunk === "string" ? harmless(chunk) : chunk, ...rest);
    },
  });
}

function escaped(character: string): string {
  return [...Array(character.length).keys()]
    .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
    .join("");
}
