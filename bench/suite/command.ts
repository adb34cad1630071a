import { spawn } from "node:child_process";
import { once } from "node:events";

export type CommandOptions = { readonly cwd?: string; readonly input?: string };

/** Runs a program and returns its standard output; throws with its standard error when it fails. */
export async function run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const child = spawn(program, args, { cwd: options.cwd, stdio: ["pipe", "pipe", "pipe"] });
  const output: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`${program} ${args.slice(0, 6).join(" ")} failed (${code}): ${Buffer.concat(errors).toString()}`);
  }
  return Buffer.concat(output).toString();
}

/** The standard output of a program as it comes; throws at its end when it fails. */
export async function* stream(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { cwd: options.cwd, stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  for await (const chunk of child.stdout) yield chunk as Buffer;
  const [code] = await closed;
  if (code !== 0) throw new Error(`${program} ${args.slice(0, 6).join(" ")} failed (${code})`);
}
