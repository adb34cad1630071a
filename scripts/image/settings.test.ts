import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../bundle/compile.ts";
import { nodeSettings } from "./settings.ts";

test("the image has what bin/settings.sh exports, and its options of Node", () => {
  const { environment, options } = nodeSettings("/usr/lib/nodewarm", "/var/cache/x");
  const names = environment.map((each) => each.split("=")[0]);
  const script = readFileSync(join(root, "bin/settings.sh"), "utf8");
  const exported = script
    .split("\n")
    .filter((line) => line.startsWith("export "))
    .flatMap((line) => line.match(/\b[A-Z][A-Z_]+(?==)/g) ?? []);
  assert.deepEqual(names, exported.sort());
  assert.ok(environment.includes("NODE_COMPILE_CACHE=/var/cache/x"));
  const said = /^node_options="(.*)"$/m.exec(script)?.[1];
  assert.equal(options.join(" "), said);
});

test("does not depend on who asks", () => {
  const before = nodeSettings("/a", "/b");
  process.env.UV_THREADPOOL_SIZE = "3";
  try {
    assert.deepEqual(nodeSettings("/a", "/b"), before);
  } finally {
    delete process.env.UV_THREADPOOL_SIZE;
  }
});
