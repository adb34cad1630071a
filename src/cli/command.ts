import type { Readable } from "node:stream";

/** A stream to write text or bytes to; `isTTY` and friends are set where it is a terminal. */
export type Output = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

/** What a command may use of the process that runs it. */
export type CommandIo = {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the user wants to stop (SIGINT, SIGTERM). */
  readonly signal: AbortSignal;
};

/**
 * What each file in `commands/` exports. `args` are the words behind the command's name.
 * Returns the exit code (0 when it returns nothing); throws `UsageError` for exit 2, any other error for exit 1.
 */
export type Command = {
  run(args: readonly string[], io: CommandIo): Promise<number> | Promise<void>;
};
