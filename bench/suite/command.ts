import { spawn } from "node:child_process";
import { once } from "node:events";
import { type RunOptions, run as runProgram } from "../../test/support/processes.ts";

/** Runs a program that may take an hour; its stdout. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return runProgram(program, args, { timeoutMs: 3_600_000, ...options });
}

/** The standard output of a program as it comes; throws at its end when it fails. */
export async function* stream(program: string, args: readonly string[], input: string): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  for await (const chunk of child.stdout) yield chunk as Buffer;
  const [code] = await closed;
  if (code !== 0) throw new Error(`${program} ${args.slice(0, 6).join(" ")} failed (${code})`);
}
