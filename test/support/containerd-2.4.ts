import { existsSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findProgram } from "./privileges.ts";
import { run } from "./processes.ts";
import { cacheDirectory } from "./temporary.ts";

export const containerd24Version = "2.4.2";

const programs = ["containerd", "containerd-shim-runc-v2", "ctr"];

/**
 * Folder of containerd, shim and ctr of `containerd24Version`, built once from the Go module proxy (about three minutes) and
 * kept in the cache folder. Prints why and gives `undefined` where they cannot be built.
 */
export async function containerd24Binaries(): Promise<string | undefined> {
  const folder = await cacheDirectory(`containerd-${containerd24Version}`);
  if (programs.every((name) => existsSync(join(folder, name)))) return folder;
  const go = findProgram("go");
  if (go === undefined) {
    console.error(`containerd ${containerd24Version} is left out: there is no Go to build it with`);
    return undefined;
  }
  console.error(`building containerd ${containerd24Version} into ${folder}; this takes some minutes, once`);
  const partial = await mkdtemp(join(dirname(folder), ".partial-"));
  try {
    const packages = programs.map((name) => `github.com/containerd/containerd/v2/cmd/${name}@v${containerd24Version}`);
    const env = { GOBIN: partial, CGO_ENABLED: "0", GOFLAGS: "-trimpath" };
    await run(go, ["install", ...packages], { env, cwd: partial, timeoutMs: 15 * 60_000 });
    for (const name of programs) await rename(join(partial, name), join(folder, name));
    return folder;
  } catch (error) {
    console.error(`containerd ${containerd24Version} is left out: ${error instanceof Error ? error.message : error}`);
    return undefined;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}
