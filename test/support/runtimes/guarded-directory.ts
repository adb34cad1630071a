import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Scope } from "../temporary.ts";

/**
 * A temporary folder for daemons that start processes and mounts of their own. When the scope ends, and also when this
 * process is killed before, a guard process clears away all that belongs to the folder (`clearAway`). The end of the scope
 * throws when something stays.
 */
export async function guardedDirectory(scope: Scope, name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `nw-${name}-`));
  // The root user of a user namespace has to pass.
  await chmod(directory, 0o711);
  // The guard sees the end of its input when this process ends, however it ends. It is not in our process group, so that
  // Ctrl-C does not reach it.
  const guard = spawn(process.execPath, [join(import.meta.dirname, "guard.ts"), directory], {
    stdio: ["pipe", "ignore", "pipe"],
    detached: true,
    cwd: "/",
  });
  guard.unref();
  const complaints = text(guard.stderr);
  const streams: readonly unknown[] = [guard.stdin, guard.stderr];
  for (const stream of streams) if (isReferenced(stream)) stream.unref();
  scope.defer(async () => {
    guard.ref();
    const exit = once(guard, "exit");
    guard.stdin.end();
    if (guard.exitCode === null && guard.signalCode === null) await exit;
    if (guard.exitCode !== 0) throw new Error(`the runtime in ${directory} left something behind: ${await complaints}`);
  });
  return directory;
}

/** Pipes of child processes are sockets, though their type does not say so. */
function isReferenced(stream: unknown): stream is { unref(): void } {
  return typeof stream === "object" && stream !== null && "unref" in stream;
}
