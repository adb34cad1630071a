import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { needsRoot } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readBeneathMounts } from "./beneath-mounts.ts";

describe("a file beneath a mount", { skip: needsRoot }, () => {
  it("is read although something is mounted over its folder", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "beneath");
    await mkdir(`${folder}/1/fs`, { recursive: true });
    await writeFile(`${folder}/1/fs/note`, "beneath");
    await run("mount", ["-t", "tmpfs", "none", `${folder}/1/fs`]);
    scope.defer(async () => void (await run("umount", [`${folder}/1/fs`])));
    await writeFile(`${folder}/1/fs/note`, "above");
    assert.equal((await readBeneathMounts(folder, "1/fs/note")).toString(), "beneath");
    assert.equal(await readFile(`${folder}/1/fs/note`, "utf8"), "above");
  });

  it("may be missing, as may the folder", async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "beneath");
    await assert.rejects(readBeneathMounts(folder, "none"), { code: "ENOENT" });
    await assert.rejects(readBeneathMounts(`${folder}/none`, "x"), { code: "ENOENT" });
  });
});
