import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Part of the folder's name: raised when a generator changes what it makes, so that old and new figures do not mix. */
export const generatorVersion = "1";

/** Where everything lies that the benchmarks keep between runs. */
export type BenchCache = {
  /** Debian and npm packages, whatever the generator's version. */
  readonly packages: string;
  /** Storage folder of docker-registry. */
  readonly registry: string;
  /** One JSON file for each layer recipe that is done. */
  readonly layers: string;
  /** One JSON file for each set that is done. */
  readonly sets: string;
  /** Scratch of this process, removed when it exits; on the same file system as all the rest. */
  readonly work: string;
};

/**
 * The cache in `${XDG_CACHE_HOME:-~/.cache}/nodewarm/bench`; its folders exist afterwards. Removes what benchmarks left that
 * were killed.
 */
export function openBenchCache(): BenchCache {
  const base = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "nodewarm", "bench");
  const root = join(base, generatorVersion);
  const cache = {
    packages: join(base, "packages"),
    registry: join(root, "registry"),
    layers: join(root, "layers"),
    sets: join(root, "sets"),
    work: join(root, "work", String(process.pid)),
  };
  for (const directory of Object.values(cache)) mkdirSync(directory, { recursive: true });
  for (const pid of readdirSync(join(root, "work"))) {
    if (!existsSync(`/proc/${pid}`)) rmSync(join(root, "work", pid), { recursive: true, force: true });
  }
  process.once("exit", () => rmSync(cache.work, { recursive: true, force: true }));
  return cache;
}
