import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { needs } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { StorageChildren } from "./storage-children.ts";

const file = pathToFileURL(join(import.meta.dirname, "fresh-read-child.ts"));

test("one child asks for many, and fails as what it reads does", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await temporaryDirectory(scope), "file");
  await writeFile(path, "0123456789");
  const children = new StorageChildren({ most: 1 });
  const ask = (name: string) =>
    children.ask<Uint8Array>({ file, job: { path: name, maxBytes: Number.POSITIVE_INFINITY } }, 3_600_000);
  const none = ask(`${path}.not`);
  await assert.rejects(none, { code: "ENOENT" });
  for (const answer of await Promise.all(Array.from({ length: 12 }, () => ask(path))))
    assert.equal("value" in answer && Buffer.from(answer.value).toString(), "0123456789");
});

test("one that never answers is given up when others wait for their turn", { skip: needs("mkfifo") }, async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope);
  const [silent, path] = [join(folder, "silent"), join(folder, "file")];
  await run("mkfifo", [silent]);
  await writeFile(path, "here");
  const children = new StorageChildren({ most: 1, crowdedMs: 500, againMs: 10 });
  const first = children.ask({ file, job: { path: silent, maxBytes: 10 } }, 3_600_000);
  const second = await children.ask<Uint8Array>({ file, job: { path, maxBytes: 10 } }, 3_600_000);
  assert.equal("value" in second && Buffer.from(second.value).toString(), "here");
  const given = await first;
  assert.ok("silent" in given);
  await given.silent;
});

test("nobody is asked, and nothing said of the storage, where too many cannot be ended", async () => {
  const children = new StorageChildren({ mostAbandoned: 0, againMs: 10 });
  const answer = await children.ask({ file, job: { path: import.meta.filename, maxBytes: 10 } }, 3_600_000);
  assert.ok("unasked" in answer);
  await answer.unasked;
});

test("a program that cannot run is an error, and not waited for", async () => {
  const children = new StorageChildren();
  await assert.rejects(children.ask({ file: new URL("./none.ts", file), job: {} }, 3_600_000), /has ended/);
});
