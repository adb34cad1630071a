import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readConfigurationFiles } from "./configuration-files.ts";

const set = "apiVersion: nodewarm.io/v1alpha1\nkind: ImageSet\nmetadata: {name: a}\nspec: {images: [{ref: web}]}\n";

async function folder(scope: Scope): Promise<string> {
  return temporaryDirectory(scope, "seed-config");
}

test("files and folders lie in the node's configuration folder under their own names", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await folder(scope);
  await mkdir(join(work, "more"));
  await writeFile(join(work, "one.yaml"), set);
  await writeFile(join(work, "more/two.yml"), set.replace("name: a", "name: b"));
  await writeFile(join(work, "more/notes.txt"), "not a document");
  const files = await readConfigurationFiles([join(work, "one.yaml"), join(work, "more")]);
  assert.deepEqual(
    files.map(({ path }) => path),
    ["/etc/nodewarm/one.yaml", "/etc/nodewarm/two.yml"],
  );
});

test("a document that the agent would refuse is refused before anything is written, by file, line and field", async () => {
  await using scope = new AsyncDisposableStack();
  const path = join(await folder(scope), "bad.yaml");
  await writeFile(path, `${set}x: 1\n`);
  await assert.rejects(readConfigurationFiles([path]), {
    code: "invalid-configuration",
    message: /bad\.yaml:5:1: x: unknown field/,
  });
});

test("two files of one name, and a folder without documents, are usage errors", async () => {
  await using scope = new AsyncDisposableStack();
  const work = await folder(scope);
  await mkdir(join(work, "empty"));
  await mkdir(join(work, "other"));
  for (const place of ["a.yaml", "other/a.yaml"]) await writeFile(join(work, place), set);
  await assert.rejects(
    readConfigurationFiles([join(work, "a.yaml"), join(work, "other")]),
    /two files are named a\.yaml/,
  );
  await assert.rejects(readConfigurationFiles([join(work, "empty")]), /no \.yaml|no document/);
});
