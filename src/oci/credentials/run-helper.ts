import { spawn } from "node:child_process";

export type HelperCall = {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Written to its standard input. */
  readonly input: string;
  /** More on its standard output ends it. */
  readonly maxOutputBytes: number;
  /** After so long it is killed. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

export type HelperOutcome = {
  /** `null` where it was killed or could not be started. */
  readonly code: number | null;
  readonly output: string;
  readonly isLate: boolean;
  readonly isTooLong: boolean;
  /** Why it could not be started. */
  readonly error?: Error;
};

/**
 * Runs a program that gives credentials, in a process group of its own which is killed as a whole when it takes too long, says too much or
 * `signal` aborts. What it writes to standard error goes nowhere. Never throws.
 */
export function runHelper(call: HelperCall): Promise<HelperOutcome> {
  const { program, args, environment, input, maxOutputBytes, timeoutMs, signal } = call;
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: environment, stdio: ["pipe", "pipe", "ignore"], detached: true });
    const pieces: Buffer[] = [];
    let size = 0;
    let isLate = false;
    const stop = () => {
      killGroup(child.pid);
      // A process that left the group may keep the pipe open; do not wait for it.
      child.stdout.destroy();
    };
    const timer = setTimeout(() => {
      isLate = true;
      stop();
    }, timeoutMs);
    const end = (code: number | null, error?: Error) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      const output = Buffer.concat(pieces).toString("utf8");
      resolve({ code, output, isLate, isTooLong: size > maxOutputBytes, ...(error && { error }) });
    };
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    child.stdout.on("data", (piece: Buffer) => {
      size += piece.length;
      if (size > maxOutputBytes) stop();
      else pieces.push(piece);
    });
    child.stdout.on("error", () => {});
    child.once("error", (error) => end(null, error));
    child.once("close", (code) => end(code));
    // It may end without reading.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}
