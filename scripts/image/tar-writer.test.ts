import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { run } from "../../test/support/processes.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { type TarEntry, writeTar } from "./tar-writer.ts";

const content = Buffer.from("text\n");

test("tar reads what was written: folders around, long paths, links, modes, one time and owner", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "tar");
  const long = `${"folder/".repeat(20)}file`;
  const entries: TarEntry[] = [
    { path: "usr/bin/tool", mode: 0o755, content },
    { path: long, mode: 0o600, content: Buffer.alloc(512, "x") },
    { path: "bin", mode: 0o777, target: "usr/bin" },
    { path: "tmp", mode: 0o1777, isFolder: true },
  ];
  await writeFile(join(folder, "a.tar"), writeTar(entries, 1_000_000_000));
  const listing = await run("tar", ["-tvf", join(folder, "a.tar"), "--utc", "--numeric-owner", "--full-time"]);
  assert.match(listing, /^lrwxrwxrwx 0\/0 +0 2001-09-09 01:46:40 bin -> usr\/bin$/m);
  assert.match(listing, /^drwxrwxrwt 0\/0 +0 2001-09-09 01:46:40 tmp\/$/m);
  assert.match(listing, /^drwxr-xr-x 0\/0 +0 2001-09-09 01:46:40 usr\/bin\/$/m);
  assert.match(listing, /^-rwxr-xr-x 0\/0 +5 2001-09-09 01:46:40 usr\/bin\/tool$/m);
  assert.ok(listing.includes(` ${long}\n`));
  const out = join(folder, "out");
  await mkdir(out);
  await run("tar", ["-xf", join(folder, "a.tar"), "-C", out]);
  assert.equal(await run("cat", [join(out, "bin/tool")]), "text\n");
});

test("the order of the entries does not matter", () => {
  const entries: TarEntry[] = ["b/c", "a", "b.d"].map((path) => ({ path, mode: 0o644, content }));
  assert.deepEqual(writeTar(entries, 1), writeTar(entries.toReversed(), 1));
  assert.notDeepEqual(writeTar(entries, 1), writeTar(entries, 2));
});

test("refuses what the format cannot hold, and contradictions", () => {
  const file = (path: string): TarEntry => ({ path, mode: 0o644, content });
  assert.throws(() => writeTar([file("a"), file("a")], 0), /a is there twice/);
  assert.throws(() => writeTar([file("a"), file("a/b")], 0), /a\/b lies in what is no folder/);
  assert.throws(() => writeTar([file("x".repeat(101))], 0), /too long/);
  assert.throws(() => writeTar([file(`${"y".repeat(156)}/x`)], 0), /too long/);
  assert.throws(() => writeTar([{ path: "l", mode: 0o777, target: "x".repeat(101) }], 0), /too long/);
});
