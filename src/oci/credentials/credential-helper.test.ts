import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { askCredentialHelper } from "./credential-helper.ts";

async function ask(script: string, timeoutMs = 60_000, signal = new AbortController().signal): Promise<unknown> {
  const directory = await mkdtemp(join(tmpdir(), "nodewarm-helper-"));
  try {
    const file = join(directory, "docker-credential-test");
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
    const environment = { PATH: `${directory}:${process.env.PATH}` };
    return await askCredentialHelper("test", "a.io", { source: "config.json", environment, signal, timeoutMs });
  } finally {
    await rm(directory, { recursive: true });
  }
}

test("a helper is given the server and gives a password or an identity token", async () => {
  const echo = (user: string) =>
    `read -r server; echo "{\\"Username\\":\\"${user}\\",\\"Secret\\":\\"for $1 $server\\"}"`;
  assert.deepEqual(await ask(echo("me")), { kind: "password", username: "me", password: "for get a.io" });
  assert.deepEqual(await ask(echo("<token>")), { kind: "identity-token", token: "for get a.io" });
  assert.equal(await ask("echo 'credentials not found in native keychain'; exit 1"), undefined);
  assert.equal(await ask(`echo '{"Username":"","Secret":""}'`), undefined);
});

test("a helper that hangs, floods or leaves out something is refused", async () => {
  await assert.rejects(ask("sleep 2 & wait", 100), {
    code: "credentials-failed",
    message: /did not answer in time for a\.io/,
  });
  await assert.rejects(ask("exec yes"), { code: "credentials-failed", message: /answered too much/ });
  await assert.rejects(ask('echo \'{"Username":"x"}\''), {
    code: "credentials-failed",
    message: /no Username and Secret/,
  });
});

test("a helper is stopped when the signal aborts", async () => {
  await assert.rejects(ask("exec sleep 60", 60_000, AbortSignal.timeout(50)), { name: "TimeoutError" });
});
