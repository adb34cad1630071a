import { spawn } from "node:child_process";
import { once } from "node:events";
import { readlink } from "node:fs/promises";
import { run, waitUntil } from "./processes.ts";
import type { Scope } from "./temporary.ts";

/** A process that sleeps in a mount namespace of its own, in `folder`, until the scope ends; its id. Needs root and `unshare`. */
export async function startInMountNamespace(
  scope: Scope,
  propagation: "private" | "slave" | "shared" = "private",
  folder = "/",
): Promise<number> {
  // The shell enters it there: what was entered before would be the folder of the namespace that this one was made of.
  const sleep = ["sh", "-c", 'cd "$0" && exec sleep 900', folder];
  const child = spawn("unshare", ["--mount", "--propagation", propagation, ...sleep], { stdio: "ignore" });
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

/** As `startInMountNamespace`, as systemd leaves a machine: each mount is shared with the namespaces that are made of this one. */
export async function startSharedMountNamespace(scope: Scope): Promise<number> {
  // Ours sees nothing of it, whatever it shares itself.
  const pid = await startInMountNamespace(scope, "slave");
  await run("nsenter", [`--mount=/proc/${pid}/ns/mnt`, "--", "mount", "--make-rshared", "/"]);
  return pid;
}
