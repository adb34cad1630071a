import assert from "node:assert/strict";
import { readdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { waitUntil } from "../../../test/support/processes.ts";
import { file, tar } from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { DiskError } from "../../disk/disk-error.ts";
import { OpeningDisk } from "./opening-disk.ts";

const never = new AbortController().signal;

/** What this process has open below a folder. */
async function openFiles(folder: string): Promise<readonly string[]> {
  const links = await readdir("/proc/self/fd");
  const paths = await Promise.all(links.map((link) => readlink(`/proc/self/fd/${link}`).catch(() => "")));
  return paths.filter((path) => path.startsWith(folder));
}

const threads = async (): Promise<number> => (await readdir("/proc/self/task")).length;

test("a disk that is missing shows where it is asked for, with the way out", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "old.erofs");
  const opening = new OpeningDisk(path, never);
  await assert.rejects(opening.opened(), (error) => {
    assert.ok(error instanceof DiskError && error.code === "unreadable");
    assert.match(error.message, /^cannot read the older disk \S+old\.erofs: ENOENT.*; build without --from/);
    return true;
  });
  await opening.close();
});

test("neither file nor thread is left of a disk that nobody waited for, however far it was", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const image = await makeImage(folder, { layers: [{ tar: tar(file("file", "text")) }] });
  const { path } = await buildTestDisk(folder, folder, [image]);
  const broken = join(folder, "broken.erofs");
  await writeFile(broken, "no disk");
  // Starts the threads that the system's calls run on, which stay.
  await new OpeningDisk(path, never).close();
  const before = await threads();
  assert.deepEqual(await openFiles(folder), []);
  for (const waitMs of [0, 1, 5, 20, 200]) {
    for (const at of [path, broken]) {
      const opening = new OpeningDisk(at, never);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await opening.close();
      await opening.close();
    }
  }
  assert.deepEqual(await openFiles(folder), []);
  // The kernel lists a thread for a moment after it has ended.
  await waitUntil("their threads have ended", async () => (await threads()) <= before);
});

test("what aborts ends it with the reason", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const image = await makeImage(folder, { layers: [{ tar: tar(file("file", "text")) }] });
  const { path } = await buildTestDisk(folder, folder, [image]);
  const controller = new AbortController();
  const opening = new OpeningDisk(path, controller.signal);
  controller.abort(new Error("stopped"));
  await assert.rejects(opening.opened(), /^Error: stopped$/);
  await opening.close();
});
