import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CliError } from "../cli-error.ts";
import { UsageError } from "../usage-error.ts";
import { checkOutputPath, explainSystemError } from "./output-path.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "nodewarm-output-"));
  await mkdir(join(folder, "sub"));
  await writeFile(join(folder, "file"), "");
  await symlink("/dev/null", join(folder, "link"));
});
after(() => rm(folder, { recursive: true }));

test("a new file in a folder and a file that is there are fine", async () => {
  await checkOutputPath(join(folder, "new.erofs"));
  await checkOutputPath(join(folder, "file"));
  await checkOutputPath("new.erofs");
});

const refusals: readonly (readonly [what: string, path: () => string, message: RegExp])[] = [
  ["a folder", () => join(folder, "sub"), /is a folder; name a file in it/],
  ["a path that ends with a slash", () => `${folder}/new/`, /is a folder/],
  ["a device", () => "/dev/null", /device.*dd if=/],
  ["a link to a device", () => join(folder, "link"), /device/],
  ["a folder that does not exist", () => join(folder, "none", "disk"), /does not exist; make it first/],
  ["a file as a folder", () => join(folder, "file", "disk"), /is no folder/],
];

for (const [what, path, message] of refusals) {
  test(`refuses ${what}`, async () => {
    await assert.rejects(checkOutputPath(path()), (error: unknown) => {
      return error instanceof UsageError && message.test(error.message);
    });
  });
}

test("what the system says while writing gets the path and the way out", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
  const explained = explainSystemError(full, "/data/disk.erofs");
  assert.ok(explained instanceof CliError);
  assert.equal(
    explained.message,
    "cannot write /data/disk.erofs: ENOSPC: no space left on device, write; make room in /data or write to another place",
  );
  const other = new Error("a bug");
  assert.equal(explainSystemError(other, "/data/disk.erofs"), other);
  const failing = Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO", syscall: "fdatasync" });
  const told = explainSystemError(failing, "/data/disk.erofs");
  assert.ok(told instanceof Error);
  assert.match(told.message, /^cannot write \/data\/disk\.erofs: EIO.*storage of \/data fails.*another place$/);
});
