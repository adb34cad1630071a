import { CliError } from "./cli-error.ts";

/** The command line cannot be carried out as it stands: exit code 2, with a pointer to the command's `--help`. */
export class UsageError extends CliError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("usage", message, options);
  }
}

/** Turns what `parseArgs` of `node:util` throws for wrong options into a `UsageError`; anything else comes back as it is. */
export function asUsageError(error: unknown): unknown {
  if (!(error instanceof TypeError) || !("code" in error) || !String(error.code).startsWith("ERR_PARSE_ARGS_")) {
    return error;
  }
  const first = error.message.split(/\. |\n/, 1)[0].replace(/\.$/, "");
  return new UsageError(first, { cause: error });
}
