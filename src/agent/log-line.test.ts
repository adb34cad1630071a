import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AgentSetting } from "../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../test/support/agent/facts.ts";
import { imageSet } from "../../test/support/agent/image-set.ts";
import { testImage } from "../../test/support/agent/memory-images.ts";
import { isDigest } from "../oci/descriptor.ts";
import { OciError } from "../oci/oci-error.ts";
import { memoryImage } from "../runtime/memory-image-keeper.ts";
import { RuntimeError } from "../runtime/runtime-error.ts";
import { errorFields, type LogFields, logEvents } from "./log-line.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";

test("docs/agent.md has every event with its level, fields and meaning", () => {
  const page = readFileSync(new URL("../../docs/agent.md", import.meta.url), "utf8");
  const rows = Object.entries(logEvents).map(
    ([event, { level, fields, meaning }]) =>
      `| \`${event}\` | ${level} | ${fields.map((field) => `\`${field}\``).join(", ")} | ${meaning} |`,
  );
  const table = ["| event | level | fields | |", "|---|---|---|---|", ...rows, ""].join("\n");
  assert.ok(page.includes(table), `docs/agent.md must hold this table:\n\n${table}`);
});

test("lines of all kinds of work have the fields of their event, and name images, digests and disks alike", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  const disk = diskIdentity("a", 1, { [db]: testDigest("db-1") });
  setting.putDisk(disk, ["db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "gone:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  setting.registry.fail("docker.io", new OciError("registry-unreachable", "docker.io does not answer"));
  setting.node.others.removeImage(web);
  await setting.advance(60_000);
  setting.configuration.tell({ type: "problem", message: "a.yaml:1:1: nonsense" });
  setting.node.others.stop();
  await setting.advance(600_000);

  for (const { event, fields } of setting.log) {
    const allowed: readonly string[] = logEvents[event].fields;
    for (const field of Object.keys(fields)) assert.ok(allowed.includes(field), `${event}: ${field}`);
    const { image, digest, disk: id, error, code }: LogFields = fields;
    if (image !== undefined) assert.match(image, /^docker\.io\/library\/[a-z]+[:@]/);
    if (digest !== undefined) assert.ok(isDigest(digest), digest);
    if (id !== undefined) assert.equal(id, disk.id);
    if (event === "action-failed") assert.ok(error !== undefined && code !== undefined);
  }
  const seen = new Set(setting.log.map(({ event }) => event));
  for (const event of ["action-done", "action-failed", "image-phase", "configuration-invalid", "runtime-unavailable"])
    assert.ok([...seen].includes(event as keyof typeof logEvents), `${event} among ${[...seen].join(", ")}`);
  const warm = setting.log.find(({ event, fields }) => event === "image-phase" && fields.phase === "Warm");
  assert.ok(warm?.event === "image-phase" && warm.fields.digest !== undefined);
});

test("what others brought is said to be unpinned, and what Nodewarm brought to be released", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.publish(db, "db-1");
  setting.node.others.pull(web, memoryImage(testImage("web-1")));
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "db:1" }] })]);
  await setting.start();
  await setting.advance(10_000);
  setting.wish([]);
  await setting.advance(7_200_000);
  const lastOf = (name: string) =>
    setting.log.findLast((line) => line.event === "action-done" && line.fields.image === name)?.fields;
  const wordOf = (fields: LogFields | undefined) => fields?.action;
  assert.deepEqual([wordOf(lastOf(web)), wordOf(lastOf(db))], ["unpin", "release"]);
});

test("events that do not arrive, and that do again, are worth a line each", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  const linesOf = () => setting.log.filter(({ event }) => event === "events-lost" || event === "events-back");
  assert.deepEqual(linesOf(), []);
  for (let i = 0; i < 2; i++) {
    setting.node.others.stop();
    await setting.advance(60_000);
    setting.node.others.start();
    await setting.advance(60_000);
  }
  const lost = { event: "events-lost", fields: { error: "memory was stopped" } };
  const back = { event: "events-back", fields: {} };
  assert.deepEqual(linesOf(), [lost, back, lost, back]);
});

test("an error has its code, and its words on one line", () => {
  assert.deepEqual(errorFields(new RuntimeError("unavailable", "it is\ndown")), {
    error: "it is down",
    code: "unavailable",
  });
  assert.deepEqual(errorFields("odd"), { error: "odd", code: "unexpected" });
});
