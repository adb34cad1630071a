import { spawn } from "node:child_process";
import { once } from "node:events";

const colour = process.stdout.isTTY === true && !process.env.NO_COLOR;
const paint = (code: string, text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);

export const bold = (text: string): string => paint("1", text);
export const dim = (text: string): string => paint("2", text);
export const green = (text: string): string => paint("32", text);

/** A chapter of the demo. */
export function heading(text: string): void {
  const columns = Math.min(process.stdout.columns ?? 80, 100);
  console.log(`\n${bold(text)} ${dim("─".repeat(Math.max(3, columns - text.length - 1)))}\n`);
}

export function say(text: string): void {
  console.log(`  ${text}`);
}

/** Rows with aligned columns; columns that `right` names are flush right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): void {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      right.includes(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
    );
    say(cells.join("   ").trimEnd());
  }
}

/** Shows a command as one would type it. */
export function showCommand(words: readonly string[]): void {
  console.log(
    `${green("$")} ${bold(words.map((word) => (/^[\w@%+=:,./{}…-]+$/.test(word) ? word : `'${word}'`)).join(" "))}`,
  );
}

/**
 * Runs a program on this terminal and waits for its end, also when `signal` aborts: it is then asked to stop.
 * Throws when it fails. Returns its seconds.
 */
export async function runHere(program: string, args: readonly string[], signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  const startedMs = performance.now();
  const child = spawn(program, [...args], { stdio: "inherit" });
  // Ctrl-C reaches the child too, and a second signal would not let it clean up: ask only if it does not stop by itself.
  const stop = () => setTimeout(() => child.kill("SIGINT"), 1000).unref();
  signal.addEventListener("abort", stop);
  try {
    const [code, by] = (await once(child, "close")) as [number | null, string | null];
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`${program} ${args[0] ?? ""} ended with ${by ?? `exit code ${code}`}`);
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return (performance.now() - startedMs) / 1000;
}
