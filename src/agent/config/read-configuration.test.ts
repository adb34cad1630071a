import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { AgentError } from "../agent-error.ts";
import { readConfiguration } from "./read-configuration.ts";

const head = "apiVersion: nodewarm.io/v1alpha1\n";
const set = (name: string, ref = "nginx") =>
  `${head}kind: ImageSet\nmetadata: {name: ${name}}\nspec: {images: [{ref: ${ref}}]}\n`;
const agent = (spec: string) => `${head}kind: AgentConfig\nmetadata: {name: node}\nspec: ${spec}\n`;

async function problemOf(path: string): Promise<string> {
  try {
    await readConfiguration(path);
  } catch (error) {
    assert.ok(error instanceof AgentError, String(error));
    assert.equal(error.code, "invalid-configuration");
    return error.message;
  }
  return assert.fail("was accepted");
}

test("one file may hold image sets and the agent's own document", async () => {
  await using scope = new AsyncDisposableStack();
  const file = join(await temporaryDirectory(scope, "config"), "all");
  await writeFile(file, `${set("web")}---\n${agent("{keepPrevious: 2h, labels: {pool: gpu}}")}`);
  const { sets, agent: found } = await readConfiguration(file);
  assert.deepEqual(
    sets.map(({ metadata }) => metadata.name),
    ["web"],
  );
  assert.deepEqual([found.keepPrevious, found.labels, found.limits.highWater], ["2h", { pool: "gpu" }, 75]);
});

test("a folder is read by name, without hidden files and other endings, through links", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "config");
  await mkdir(join(folder, "..data"));
  await mkdir(join(folder, "folder.yaml"));
  await writeFile(join(folder, "..data", "b.yml"), set("linked"));
  await symlink("..data/b.yml", join(folder, "b.yml"));
  await writeFile(join(folder, "a.yaml"), set("first"));
  await writeFile(join(folder, "c.json"), "");
  await writeFile(join(folder, ".hidden.yaml"), "nonsense");
  await writeFile(join(folder, "a.yaml~"), "nonsense");
  const { sets, agent: found } = await readConfiguration(folder);
  assert.deepEqual(
    sets.map(({ metadata }) => metadata.name),
    ["first", "linked"],
  );
  assert.equal(found.keepPrevious, "1h", "defaults hold without an AgentConfig");
});

test("an empty folder wishes nothing", async () => {
  await using scope = new AsyncDisposableStack();
  assert.deepEqual((await readConfiguration(await temporaryDirectory(scope, "config"))).sets, []);
});

test("the problems of all files are told with file, line and field", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "config");
  await writeFile(join(folder, "a.yaml"), agent("{labels: {}, disk: {}}"));
  await writeFile(join(folder, "b.yaml"), `${head}kind: ImageSets\nmetadata: {name: x}\nspec: {}\n`);
  const message = await problemOf(folder);
  assert.match(message, /a\.yaml:4:20: spec\.disk: unknown field$/m);
  assert.match(message, /b\.yaml:2:1: kind: must be ImageSet or AgentConfig$/m);
});

test("a second AgentConfig and a second set of one name are problems, and both places are named", async () => {
  await using scope = new AsyncDisposableStack();
  const folder = await temporaryDirectory(scope, "config");
  await writeFile(join(folder, "a.yaml"), `${agent("{}")}---\n${set("web")}`);
  await writeFile(join(folder, "b.yaml"), `${set("web")}---\n${agent("{}")}`);
  const message = await problemOf(folder);
  assert.match(message, /b\.yaml:1:1: .*"web" .*a\.yaml:6:1 too$/m);
  assert.match(message, /b\.yaml:6:1: a second AgentConfig; the first one is at .*a\.yaml:1:1$/m);
});

test("high water lies below what evicts", async () => {
  await using scope = new AsyncDisposableStack();
  const file = join(await temporaryDirectory(scope, "config"), "a.yaml");
  await writeFile(file, agent("{limits: {highWater: 85}}"));
  assert.match(await problemOf(file), /spec\.limits\.evictAbove: must be higher than highWater$/);
});

test("a folder that is not there is a problem, not an empty wish", async () => {
  assert.match(await problemOf("/nonexistent/nodewarm"), /^\/nonexistent\/nodewarm: cannot be read: /);
});
