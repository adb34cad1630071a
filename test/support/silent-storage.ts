import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { askStorage } from "../../src/runtime/host/ask-storage.ts";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** Keeps both threads that ask storage waiting until the scope ends, so that processes are asked. */
export async function holdStorageThreads(scope: Scope): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  scope.defer(resolve);
  const elsewhere = { file: new URL("file:///none"), job: {} };
  const ask = () => askStorage({ here: () => promise, elsewhere, timeoutMs: 20 });
  await Promise.all([ask(), ask()]);
}

/** Has each process that would be started as a child with our program run a shell script until the scope ends. */
export async function replaceChildren(scope: Scope, script: string): Promise<void> {
  const program = join(await temporaryDirectory(scope, "program"), "node");
  await writeFile(program, `#!/bin/sh\n${script}\n`);
  await chmod(program, 0o755);
  const { execPath } = process;
  process.execPath = program;
  scope.defer(() => {
    process.execPath = execPath;
  });
}
