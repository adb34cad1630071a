import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";

/**
 * What a test has to undo, last first: `await using scope = new AsyncDisposableStack()` in the test, `scope.defer(…)` in
 * the helpers.
 */
export type Scope = Pick<AsyncDisposableStack, "defer">;

/** A new folder that is gone when the scope ends. Its name is short: overlay options hold at most a page of paths. */
export async function temporaryDirectory(scope: Scope, name = "test"): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `nw-${name}-`));
  scope.defer(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A folder outside the work tree for what is expensive to make; `name` carries the version of what it holds. */
export async function cacheDirectory(name: string): Promise<string> {
  const directory = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "nodewarm", name);
  await mkdir(directory, { recursive: true });
  return directory;
}
