import { CliError } from "./cli-error.ts";

/** Throws `CliError` unless the program runs as root; `why` completes "it …". */
export function requireRoot(command: string, why: string): void {
  if (process.geteuid?.() === 0) return;
  throw new CliError("not-root", `"nodewarm ${command}" must run as root, because it ${why}; run it with sudo`);
}
