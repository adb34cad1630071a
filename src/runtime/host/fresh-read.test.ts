import assert from "node:assert/strict";
import { constants } from "node:fs";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readFresh } from "./fresh-read.ts";

test("reads a file in full, or its beginning, also several at once", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "file");
  await writeFile(path, "0123456789");
  const all = await Promise.all([readFresh(path), readFresh(path, 4), readFresh(path, 100)]);
  assert.deepEqual(all.map(String), ["0123456789", "0123", "0123456789"]);
  await assert.rejects(readFresh(`${path}.not`), { code: "ENOENT" });
});

test("does not wait for what never answers, nor ask it again until it has", { skip: needs("mkfifo") }, async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "silent");
  await run("mkfifo", [path]);
  await assert.rejects(readFresh(path, 10, 20), /does not answer/);
  await assert.rejects(readFresh(path, 10, 3_600_000), /does not answer/);
  // Its other end comes.
  await writeFile(path, "here");
});

test("six that never answer leave threads to others, and a process reads what does answer", {
  skip: needs("mkfifo"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const silent = Array.from({ length: 6 }, (_, i) => join(folder, `${i}`));
  await run("mkfifo", silent);
  // Their other ends come, so that nothing is left waiting.
  scope.defer(async () => {
    for (const path of silent) {
      await using handle = await open(path, constants.O_RDWR | constants.O_NONBLOCK);
      await handle.write("here");
    }
  });
  const answers = Promise.allSettled(silent.map((path) => readFresh(path, 10, 2000)));
  const path = join(folder, "file");
  await writeFile(path, "0123456789");
  assert.equal(String(await readFresh(path, 4)), "0123");
  await assert.rejects(readFresh(`${path}.not`), { code: "ENOENT" });
  for (const answer of await answers)
    assert.match(String(answer.status === "rejected" && answer.reason), /does not answer/);
  await assert.rejects(readFresh(silent[5] ?? "", 10, 3_600_000), /does not answer/);
  await Promise.all(Array.from({ length: 8 }, () => readFile(path)));
});

test("asks another device that is mounted in the place of one that never answers", {
  skip: needs("mkfifo"),
}, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "place");
  const path = join(folder, "file");
  await run("mkfifo", [path]);
  // Its other end comes, so that nothing is left waiting.
  scope.defer(() => writeFile(path, "here"));
  await assert.rejects(readFresh(path, 10, 20), /does not answer/);
  await run("mount", ["-t", "tmpfs", "tmpfs", folder]);
  scope.defer(async () => void (await run("umount", [folder])));
  await writeFile(path, "there");
  assert.equal(String(await readFresh(path)), "there");
});
