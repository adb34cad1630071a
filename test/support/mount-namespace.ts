import { spawn } from "node:child_process";
import { once } from "node:events";
import { readlink } from "node:fs/promises";
import { waitUntil } from "./processes.ts";
import type { Scope } from "./temporary.ts";

/** A process that sleeps in a mount namespace of its own until the scope ends; its id. Needs root and `unshare`. */
export async function startInMountNamespace(
  scope: Scope,
  propagation: "private" | "slave" | "shared" = "private",
): Promise<number> {
  const child = spawn("unshare", ["--mount", "--propagation", propagation, "sleep", "300"], { stdio: "ignore" });
  await once(child, "spawn");
  const exit = once(child, "exit");
  scope.defer(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  const pid = child.pid ?? 0;
  // It becomes `sleep` once the namespace is as it should be.
  await waitUntil("the process sleeps", async () => (await readlink(`/proc/${pid}/exe`)).endsWith("sleep"));
  return pid;
}
