import assert from "node:assert/strict";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { needsProgram } from "../support/privileges.ts";
import { run } from "../support/processes.ts";
import { type Scope, temporaryDirectory } from "../support/temporary.ts";

/** `bin/nodewarm` runs the program from a fresh checkout, on a machine whose Node is too old. */

const root = join(import.meta.dirname, "../..");
const skip = needsProgram("npm");

test("two first runs at the same time fetch what is missing and both work; the next asks npm for nothing", {
  skip,
}, async () => {
  await using scope = new AsyncDisposableStack();
  const { checkout, path } = await freshCheckout(scope, "12.22.0");
  const program = join(checkout, "bin/nodewarm");
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const runs = [1, 2].map(() => run(program, ["--version"], { env: { PATH: path } }));
  for (const said of await Promise.all(runs)) assert.match(said, new RegExp(version.replaceAll(".", "\\.")));

  await writeFile(join(checkout, "tools/npm"), "#!/bin/sh\nexit 99\n", { mode: 0o755 });
  const link = join(checkout, "link-to-nodewarm");
  await symlink("bin/nodewarm", link);
  const env = { PATH: `${join(checkout, "tools")}:/usr/bin:/bin` };
  assert.match(await run(link, ["--version"], { env }), new RegExp(version.replaceAll(".", "\\.")));
});

test("without npm and with an old Node the message says what is needed", async () => {
  await using scope = new AsyncDisposableStack();
  const { checkout } = await freshCheckout(scope, "16.0.0");
  await writeFile(join(checkout, "tools/uname"), "#!/bin/sh\necho Plan9\n", { mode: 0o755 });
  const env = { PATH: `${join(checkout, "tools")}:/usr/bin:/bin` };
  const failed = run(join(checkout, "bin/nodewarm"), ["--version"], { env });
  await assert.rejects(failed, /there is no pinned Node for Plan9-Plan9; install Node 24 or newer and put it on PATH/);
});

/** The files of a checkout without what was installed into it, and a PATH whose `node` says it is `nodeVersion`. */
async function freshCheckout(scope: Scope, nodeVersion: string): Promise<{ checkout: string; path: string }> {
  const checkout = await temporaryDirectory(scope, "chk");
  for (const name of ["bin", "scripts", "src", "package.json", "package-lock.json", ".node-version"]) {
    await cp(join(root, name), join(checkout, name), { recursive: true });
  }
  const tools = join(checkout, "tools");
  await mkdir(tools);
  // npm itself runs under a real Node; only the question for the version is answered with an old one.
  const script = `#!/bin/sh\nif [ "$1" = -p ]; then echo ${nodeVersion}; else exec "${process.execPath}" "$@"; fi\n`;
  await writeFile(join(tools, "node"), script, { mode: 0o755 });
  return { checkout, path: `${tools}:${process.env.PATH}` };
}
