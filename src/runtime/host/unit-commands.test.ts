import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { readUnitCommands } from "./unit-commands.ts";

/** Folders that count in the order of their names, with files given by path. */
async function unitFolders(scope: Scope, files: Readonly<Record<string, string>>): Promise<string[]> {
  const work = await temporaryDirectory(scope, "units");
  const folders = new Set<string>();
  for (const [path, text] of Object.entries(files)) {
    const [folder = ""] = path.split("/");
    folders.add(join(work, folder));
    await mkdir(join(work, path, ".."), { recursive: true });
    await writeFile(join(work, path), text.replaceAll("WORK", work));
  }
  return [...folders].sort();
}

test("a drop-in replaces or adds commands, and one of the same name in a folder that counts more replaces it", async () => {
  await using scope = new AsyncDisposableStack();
  const folders = await unitFolders(scope, {
    "1/a.service.d/20-more.conf": "[Service]\nExecStart=/bin/three\n",
    "2/a.service":
      "[Unit]\nExecStart=/bin/no\n[Service]\n# ExecStart=/bin/no\nExecStart = /bin/one\n[Install]\nExecStart=/bin/no\n",
    "3/a.service": "[Service]\nExecStart=/bin/hidden\n",
    "3/a.service.d/10-first.conf": "[Service]\nExecStart=\nExecStart=/bin/two\n",
    "3/a.service.d/20-more.conf": "[Service]\nExecStart=/bin/hidden\n",
    "3/a.service.d/30.txt": "[Service]\nExecStart=/bin/hidden\n",
  });
  assert.deepEqual(await readUnitCommands("a.service", folders), [["/bin/two"], ["/bin/three"]]);
  assert.deepEqual(await readUnitCommands("b.service", folders), []);
});

test("words are those that systemd makes, with variables put in", async () => {
  await using scope = new AsyncDisposableStack();
  const folders = await unitFolders(scope, {
    "1/environment": '# comment\nFILE="--log level"\nHOME_DIR=/data\n',
    "1/a.service": `[Service]
Environment="ONE=1 2" TWO=x
EnvironmentFile=-WORK/1/environment
EnvironmentFile=-/nonexistent
ExecStart=-@/bin/d "a b" 'c "d"' e\\ f \\
  --root=\${HOME_DIR}/root $ONE $FILE $NONE --x="y z"
`,
  });
  assert.deepEqual(await readUnitCommands("a.service", folders), [
    ["/bin/d", "a b", 'c "d"', "e f", "--root=/data/root", "1", "2", "--log", "level", "--x=y z"],
  ]);
});

test("a unit of any text is read", async () => {
  await using scope = new AsyncDisposableStack();
  const folders = await unitFolders(scope, { "1/a.service": "" });
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "binary" }), async (text) => {
      await writeFile(join(folders[0] ?? "", "a.service"), `[Service]\nExecStart=${text}`);
      for (const command of await readUnitCommands("a.service", folders)) assert.ok(Array.isArray(command));
    }),
    { numRuns: 30 },
  );
});
