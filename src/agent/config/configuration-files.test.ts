import assert from "node:assert/strict";
import type { watch } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import type { ConfigurationEvent } from "./configuration.ts";
import { ConfigurationFiles } from "./configuration-files.ts";

const head = "apiVersion: nodewarm.io/v1alpha1\n";
const set = (name: string) => `${head}kind: ImageSet\nmetadata: {name: ${name}}\nspec: {}\n`;
const times = { settleMs: 10, slowPollMs: 60_000, fastPollMs: 20 };
const noWatch = (() => {
  throw new Error("ENOSPC: System limit for number of file watchers reached");
}) as typeof watch;

for (const [how, start] of [
  ["as the kernel tells", undefined],
  ["by looking where the limit of watches is reached", noWatch],
] as const) {
  test(`changes of a folder are told, ${how}`, async () => {
    await using scope = new AsyncDisposableStack();
    const folder = await temporaryDirectory(scope, "config");
    const stop = new AbortController();
    const events = new ConfigurationFiles(folder, times, start).changes({ signal: stop.signal });
    assert.deepEqual(describe((await events.next()).value), []);
    await writeFile(join(folder, "a.yaml"), set("one"));
    assert.deepEqual(describe((await events.next()).value), ["one"]);
    await writeFile(join(folder, "a.yaml"), "kind: [");
    assert.match(String(describe((await events.next()).value)), /a\.yaml:1:/);
    await writeFile(join(folder, "new"), `${set("one")}---\n${set("two")}`);
    await rename(join(folder, "new"), join(folder, "a.yaml"));
    assert.deepEqual(describe((await events.next()).value), ["one", "two"]);
    stop.abort();
    assert.equal((await events.next()).done, true);
  });
}

test("a file is followed over its replacement and its absence", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "config");
  const file = join(folder, "agent.yaml");
  const stop = new AbortController();
  const events = new ConfigurationFiles(file, times).changes({ signal: stop.signal });
  assert.match(String(describe((await events.next()).value)), /cannot be read/);
  await writeFile(join(folder, "new"), set("one"));
  await rename(join(folder, "new"), file);
  assert.deepEqual(describe((await events.next()).value), ["one"]);
  stop.abort();
  await events.return();
});

function describe(event: unknown): readonly string[] | string {
  assert.ok(event, "ended");
  const told = event as ConfigurationEvent;
  return told.type === "problem" ? told.message : told.configuration.sets.map(({ metadata }) => metadata.name);
}
