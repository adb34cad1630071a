import { chmod, readdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { containerd24Binaries, containerd24Version } from "../../test/support/containerd-2.4.ts";
import { findProgram } from "../../test/support/privileges.ts";
import { type ContainerdDaemon, startContainerdDaemon } from "../../test/support/runtimes/containerd-daemon.ts";
import { findNewRunc } from "../../test/support/runtimes/programs.ts";
import { type Scope, temporaryDirectory } from "../../test/support/temporary.ts";
import { run } from "../suite/command.ts";

/** A containerd 2.4 each of whose syncs takes longer; a reason where there is none. */
export async function startWithSlowSyncs(
  scope: Scope,
  addedMs: number,
): Promise<ContainerdDaemon | { readonly reason: string }> {
  const strace = findProgram("strace");
  if (strace === undefined) return { reason: "there is no strace" };
  const binaries = await containerd24Binaries();
  if (binaries === undefined) return { reason: `there is no containerd ${containerd24Version}` };
  const folder = await temporaryDirectory(scope, "slow");
  for (const name of await readdir(binaries)) {
    if (name !== "containerd") await symlink(join(binaries, name), join(folder, name));
  }
  const wrapper = join(folder, "containerd");
  const words = [strace, ...tracing(addedMs), join(binaries, "containerd")];
  await writeFile(wrapper, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`);
  await chmod(wrapper, 0o755);
  const runc = await findNewRunc();
  const path = runc === undefined ? [] : [dirname(runc)];
  return startContainerdDaemon(scope, containerd24Version, folder, { path: [...path, binaries] });
}

/** What such a sync of one page then takes, stops at the tracer included (`syncMilliseconds`). */
export async function slowSyncMilliseconds(folder: string, addedMs: number): Promise<number> {
  const probe = pathToFileURL(join(import.meta.dirname, "sync-probe.ts")).href;
  const script = `import { syncMilliseconds } from "${probe}"; process.stdout.write(String(syncMilliseconds("${folder}")));`;
  const node = [process.execPath, "--input-type=module", "--eval", script];
  return Number(await run("strace", [...tracing(addedMs), ...node]));
}

/** The tracer is a child (-D), so that the program has the process id that is expected; other calls do not stop at it. */
function tracing(addedMs: number): string[] {
  const calls = "fdatasync,fsync";
  const inject = `inject=${calls}:delay_exit=${addedMs * 1000}`;
  return ["-D", "-f", "-qq", "--seccomp-bpf", "-e", `trace=${calls}`, "-e", inject, "-o", "/dev/null"];
}
