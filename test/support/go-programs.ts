import { existsSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findProgram } from "./privileges.ts";
import { run } from "./processes.ts";
import { cacheDirectory } from "./temporary.ts";

export type GoPrograms = {
  /** For messages: name and version. */
  readonly what: string;
  /** Carries all that the programs are made from. */
  readonly cacheName: string;
  /** Names of the programs. */
  readonly programs: readonly string[];
  /** Whether parts of them are C. */
  readonly cgo?: boolean;
  /** Arguments of `go` that put the programs into a folder, and where `go` runs; modules come from the module proxy. */
  build(folder: string): { readonly words: readonly string[]; readonly cwd: string };
};

/** Folder of programs that are built once and kept in the cache folder. Prints why and gives `undefined` where they cannot be built. */
export async function goPrograms({
  what,
  cacheName,
  programs,
  cgo = false,
  build,
}: GoPrograms): Promise<string | undefined> {
  const folder = await cacheDirectory(cacheName);
  if (programs.every((name) => existsSync(join(folder, name)))) return folder;
  const go = findProgram("go");
  if (go === undefined) {
    console.error(`${what} is left out: there is no Go to build it with`);
    return undefined;
  }
  console.error(`building ${what} into ${folder}; this may take minutes, once`);
  const partial = await mkdtemp(join(dirname(folder), ".partial-"));
  try {
    const { words, cwd } = build(partial);
    const env = { GOBIN: partial, CGO_ENABLED: cgo ? "1" : "0", GOFLAGS: "-trimpath" };
    await run(go, words, { env, cwd, timeoutMs: 15 * 60_000 });
    for (const name of programs) await rename(join(partial, name), join(folder, name));
    return folder;
  } catch (error) {
    console.error(`${what} is left out: ${error instanceof Error ? error.message : error}`);
    return undefined;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}
