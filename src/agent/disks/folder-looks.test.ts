import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { holdStorageThreads, replaceChildren } from "../../../test/support/silent-storage.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { FolderLooks } from "./folder-looks.ts";

for (const { what, script, reason } of [
  { what: "a folder that does not answer", script: "exec sleep 1000", reason: /does not answer/ },
  { what: "a folder that no process could be started to ask", script: "exit 1", reason: /has ended/ },
]) {
  test(`what was seen in ${what} stays, and the failure is told`, async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "disks");
    const path = join(folder, "one.erofs");
    await writeFile(path, "");
    const looks = new FolderLooks(500);
    const before = await looks.look(folder, () => {});
    assert.deepEqual(
      before.map((candidate) => candidate.path),
      [path],
    );
    await holdStorageThreads(scope);
    await replaceChildren(scope, script);
    for (let i = 0; i < 2; i++) {
      const [seen, failed, ...others] = await looks.look(folder, () => {});
      assert.deepEqual([seen, failed?.path, others], [before[0], folder, []]);
      assert.match(failed?.failure ?? "", reason);
    }
    await assert.rejects(looks.lookAtFile(path), { code: "not-trusted", message: reason });
  });
}

test("processes look at folders when the threads wait for others", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "disks");
  const path = join(folder, "one.erofs");
  await writeFile(path, "");
  const looks = new FolderLooks(3_600_000);
  const here = await looks.look(folder, () => {});
  await holdStorageThreads(scope);
  assert.deepEqual(await looks.look(folder, () => {}), here);
  assert.deepEqual(await looks.lookAtFile(path), here[0]);
  assert.equal(await looks.lookAtFile(join(folder, "none.erofs")), undefined);
});
