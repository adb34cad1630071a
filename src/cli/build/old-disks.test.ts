import assert from "node:assert/strict";
import { readdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { buildTestDisk } from "../../../test/support/disk-maker.ts";
import { makeImage } from "../../../test/support/image-maker.ts";
import { file, tar } from "../../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { CliError } from "../cli-error.ts";
import { closeOldDisks, openOldDisks } from "./old-disks.ts";

const never = new AbortController().signal;

async function openPaths(): Promise<readonly string[]> {
  const links = await readdir("/proc/self/fd");
  return Promise.all(links.map((link) => readlink(`/proc/self/fd/${link}`).catch(() => "")));
}

test("an older disk that is missing is told where it is waited for, with the way out", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "old.erofs");
  const olds = openOldDisks([path], never);
  await assert.rejects(olds[0], (error) => {
    assert.ok(error instanceof CliError && error.code === "unreadable-file");
    assert.match(error.message, /^cannot read the older disk: ENOENT.*old\.erofs'; leave --from out/);
    return true;
  });
  await closeOldDisks(olds);
});

test("disks are closed though another cannot be opened, and though nobody has waited for them", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const image = await makeImage(folder, { layers: [{ tar: tar(file("file", "text")) }] });
  const { path } = await buildTestDisk(folder, folder, [image]);
  const broken = join(folder, "broken.erofs");
  await writeFile(broken, "no disk");
  const olds = openOldDisks([path, broken], never);
  await closeOldDisks(olds);
  assert.deepEqual(
    (await openPaths()).filter((open) => open.startsWith(folder)),
    [],
  );
  await assert.rejects(olds[1], /broken\.erofs/);
});
