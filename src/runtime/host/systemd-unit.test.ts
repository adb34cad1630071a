import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { readServiceSettings, serviceEnvironment, unitFolders } from "./systemd-unit.ts";

describe("the environment of a unit", () => {
  /** `root`: holds the folders and files of a machine. */
  const unitEnvironment = async (unit: string, root: string) => {
    const folders = unitFolders.map((folder) => join(root, folder));
    return serviceEnvironment(await readServiceSettings(unit, folders), root);
  };
  const write = async (root: string, path: string, text: string): Promise<void> => {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), text);
  };

  test("comes from the unit, its drop-ins in the order of their names, and files that those name", async () => {
    await using scope = new AsyncDisposableStack();
    const root = await temporaryDirectory(scope);
    await write(
      root,
      "usr/lib/systemd/system/c.service",
      "[Unit]\nEnvironment=A=unit\n[Service]\nEnvironment=A=1 B=2\n",
    );
    await write(
      root,
      "etc/systemd/system/c.service.d/20-b.conf",
      "[Service]\nEnvironment=\"NO_PROXY=a, b\" \\\n C='x y'\n",
    );
    await write(root, "etc/systemd/system/c.service.d/10-a.conf", "[Service]\nEnvironment=B=3 NO_PROXY=z\n");
    await write(root, "usr/lib/systemd/system/c.service.d/10-a.conf", "[Service]\nEnvironment=B=hidden\n");
    await write(
      root,
      "usr/lib/systemd/system/c.service.d/30.conf",
      "# no\n[Service]\nEnvironmentFile=-/etc/none\nEnvironmentFile=/etc/env\n",
    );
    await write(root, "etc/env", '# comment\nHTTPS_PROXY="http://p:1"\n\nA=9\nWORDS=one two\n');
    const expected = { A: "9", WORDS: "one two", B: "3", NO_PROXY: "a, b", C: "x y", HTTPS_PROXY: "http://p:1" };
    assert.deepEqual(await unitEnvironment("c.service", root), expected);
  });

  test("is emptied by an empty assignment", async () => {
    await using scope = new AsyncDisposableStack();
    const root = await temporaryDirectory(scope);
    await write(root, "lib/systemd/system/c.service", "[Service]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\n");
    assert.deepEqual(await unitEnvironment("c.service", root), { B: "2" });
    assert.deepEqual(await unitEnvironment("other.service", root), {});
  });
});
