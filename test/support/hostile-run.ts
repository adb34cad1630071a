import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { finish, main, start } from "./cli.ts";
import { temporaryDirectory } from "./temporary.ts";

/** What a build of hostile input may cost: 400 MiB is the bound of the largest disks. */
const peakMemoryBytes = 400 * 2 ** 20;
const boundMs = 60_000;
const peakFile = pathToFileURL(join(import.meta.dirname, "report-peak.ts")).href;
const oldDisk = "an older disk";

/**
 * Builds a disk of `image` over one that is there, and asserts what holds for all hostile input: exit 1, one error on one line, the older
 * disk as it was and nothing beside it, bounded memory and time. The error.
 */
export async function refusedBuild(image: string, options: readonly string[] = []): Promise<string> {
  await using scope = new AsyncDisposableStack();
  const cwd = await temporaryDirectory(scope, "hostile");
  const folder = await temporaryDirectory(scope, "peak");
  const path = join(cwd, "disk.erofs");
  await writeFile(path, oldDisk);
  const startMs = performance.now();
  const args = ["build", image, "-o", "disk.erofs", "--progress", "none", ...options];
  const env = { NODEWARM_PEAK_FILE: join(folder, "peak") };
  const child = start(args, { cwd, env }, [process.execPath, "--import", peakFile, main]);
  const stop = setTimeout(() => child.kill("SIGKILL"), boundMs);
  const { code, stdout, stderr } = await finish(child);
  clearTimeout(stop);
  assert.equal(code, 1, `exit ${code} after ${Math.round(performance.now() - startMs)} ms: ${stderr}`);
  assert.equal(stdout, "");
  assert.match(stderr, /^nodewarm: [^\n]+\n$/);
  assert.ok(!stderr.includes("unexpected error"), stderr);
  assert.ok(stderr.length < 1500, `an error of ${stderr.length} characters`);
  assert.deepEqual(await readdir(cwd), ["disk.erofs"]);
  assert.equal(await readFile(path, "utf8"), oldDisk);
  const peak = Number(await readFile(join(folder, "peak"), "utf8"));
  assert.ok(peak > 0 && peak < peakMemoryBytes, `${peak >> 20} MiB at the peak`);
  return stderr;
}
