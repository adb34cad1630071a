import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { testImage } from "../../../test/support/agent/memory-images.ts";
import { OciError } from "../../oci/oci-error.ts";
import type { AgentParts } from "../loop/parts.ts";
import { AgentMetrics } from "./agent-metrics.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";

const counting = new WeakMap<AgentSetting, AgentMetrics>();

/** An agent whose doings are counted. */
class CountedSetting extends AgentSetting {
  /** Made when the parts are asked for first, by the constructor of all settings. */
  get metrics(): AgentMetrics {
    const metrics = counting.get(this) ?? new AgentMetrics(() => [this.agent.status]);
    counting.set(this, metrics);
    return metrics;
  }

  override parts(): AgentParts {
    return this.metrics.count(super.parts());
  }

  /** Values by name and labels of what is rendered. */
  samples(): Map<string, number> {
    const lines = this.metrics.render().split("\n");
    return new Map(
      lines.flatMap((line) => {
        const [, name, value] = /^([a-z][^ ]*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
        return name === undefined ? [] : [[name, Number(value)] as const];
      }),
    );
  }
}

function table(): string {
  const rows = new AgentMetrics(() => [])
    .list()
    .map(
      ({ name, type, labels, help }) =>
        `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`,
    );
  return ["| metric | type | labels | |", "|---|---|---|---|", ...rows, ""].join("\n");
}

test("docs/agent.md has every metric with its type, labels and meaning, and no other", () => {
  const page = readFileSync(new URL("../../../docs/agent.md", import.meta.url), "utf8");
  assert.ok(page.includes(`\n${table()}`), `docs/agent.md must hold this table:\n\n${table()}`);
  const known = new AgentMetrics(() => []).list().map(({ name }) => name);
  for (const [name] of page.matchAll(/\bnodewarm_[a-z_]+\b/g)) assert.ok(known.includes(name), name);
});

test("all that comes out is in the list, with these labels and no others", async () => {
  await using setting = new CountedSetting();
  setting.publish(web, "web-1");
  setting.putDisk(diskIdentity("a", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "gone:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  setting.node.others.removeImage(db);
  await setting.advance(60_000);
  setting.metrics.requests.asked("registry.example:5000", "tag");
  const list = setting.metrics.list();
  const seen = new Set<string>();
  for (const line of setting.metrics.render().trim().split("\n")) {
    if (line.startsWith("#")) continue;
    const [, name = "", pairs = ""] = /^([a-z_]+)(?:\{(.*)\})? \S+$/.exec(line) ?? assert.fail(line);
    const found = list.find((each) => each.name === name.replace(/_(bucket|sum|count)$/, "") || each.name === name);
    assert.ok(found, line);
    const labels = [...pairs.matchAll(/([a-z]+)="(?:[^"\\]|\\.)*"/g)].map(([, label]) => label);
    const wanted = name.endsWith("_bucket") ? [...found.labels, "le"] : [...found.labels];
    assert.deepEqual(labels.sort(), wanted.sort(), line);
    seen.add(found.name);
  }
  assert.deepEqual([...seen].sort(), list.map(({ name }) => name).sort());
});

test("images are timed from when they are wanted until they are warm, by source, with their bytes", async () => {
  await using setting = new CountedSetting();
  setting.latencyMs = 200;
  setting.publish(web, "web-1");
  setting.putDisk(diskIdentity("a", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(5000);
  assert.deepEqual(setting.phases(), { [web]: "Warm", [db]: "Warm" });
  const samples = setting.samples();
  for (const source of ["disk", "registry"]) {
    const of = `{runtime="memory",source="${source}"}`;
    assert.equal(samples.get(`nodewarm_image_warm_seconds_count${of}`), 1);
    const seconds = samples.get(`nodewarm_image_warm_seconds_sum${of}`) ?? 0;
    assert.ok(seconds >= 0.2 && seconds < 3, `${source}: ${seconds} s`);
    const bytes = `layer of ${source === "disk" ? "db-1" : "web-1"}`.length;
    assert.equal(samples.get(`nodewarm_bytes_total${of}`), bytes);
  }
  assert.equal(samples.get('nodewarm_images{runtime="memory",phase="Warm",source="registry"}'), 1);
  assert.equal(samples.get('nodewarm_action_seconds_count{runtime="memory",action="fetch"}'), 1);
  assert.equal(samples.get('nodewarm_ready{runtime="memory"}'), 1);
});

test("bytes that a fetch leaves to a disk, or finds on the node, are not said to be of the registry, nor of each other", async () => {
  await using setting = new CountedSetting();
  const { size } = testImage("web-1").layers[0]?.descriptor ?? { size: 0 };
  setting.node.images.fetch = async () => ({
    result: "fetched",
    fetchedBytes: 4,
    diskBytes: 2,
    fetchedLayers: 1,
    presentLayers: 0,
    conditions: [],
  });
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  const samples = setting.samples();
  const bytes = (source: string) => samples.get(`nodewarm_bytes_total{runtime="memory",source="${source}"}`) ?? 0;
  const count = bytes("registry") / 4;
  assert.ok(count >= 1);
  assert.deepEqual([bytes("disk"), bytes("node")], [2 * count, (size - 6) * count]);
});

test("a tag that moves is timed from when the registry says so", async () => {
  await using setting = new CountedSetting();
  setting.latencyMs = 200;
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(5000);
  const of = '{runtime="memory",source="registry"}';
  const before = setting.samples().get(`nodewarm_image_warm_seconds_sum${of}`) ?? 0;
  setting.publish(web, "web-2");
  await setting.advance(400_000);
  assert.equal(setting.image(web).digest, testDigest("web-2"));
  const samples = setting.samples();
  assert.equal(samples.get(`nodewarm_image_warm_seconds_count${of}`), 2);
  const seconds = (samples.get(`nodewarm_image_warm_seconds_sum${of}`) ?? 0) - before;
  // Opening, fetching and naming take 200 ms each.
  assert.ok(seconds >= 0.6 && seconds < 3, `${seconds} s`);
});

test("each deletion by others is counted, and that it was undone; what was warm from the beginning is not", async () => {
  await using setting = new CountedSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") }), ["web-1", "db-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  await setting.restart();
  await setting.advance(1000);
  const warmed = setting.samples().get('nodewarm_image_warm_seconds_count{runtime="memory",source="disk"}');
  assert.equal(warmed, 2);
  for (let round = 0; round < 3; round++) {
    setting.node.others.removeImage(web);
    await setting.advance(1000);
  }
  const samples = setting.samples();
  assert.equal(samples.get('nodewarm_image_disappearances_total{runtime="memory"}'), 3);
  assert.equal(samples.get('nodewarm_image_restorations_total{runtime="memory",source="disk"}'), 3);
  assert.equal(samples.get('nodewarm_image_warm_seconds_count{runtime="memory",source="disk"}'), 5);
});

test("failures are counted by action and code, and retries by action", async () => {
  await using setting = new CountedSetting();
  setting.publish(web, "web-1");
  setting.registry.fail("docker.io", new OciError("registry-unreachable", "docker.io does not answer"));
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(10_000);
  const failures = 'nodewarm_failures_total{runtime="memory",action="resolve",code="registry-unreachable"}';
  const failed = setting.samples().get(failures) ?? 0;
  assert.ok(failed >= 3, `${failed} failures`);
  assert.equal(setting.samples().get('nodewarm_retries_total{action="resolve"}'), failed - 1);
  setting.registry.fail("docker.io", undefined);
  await setting.advance(60_000);
  assert.equal(setting.phases()[web], "Warm");
  assert.equal(setting.samples().get('nodewarm_retries_total{action="resolve"}'), failed);
  assert.equal(setting.samples().get('nodewarm_retries_total{action="fetch"}'), undefined);
});
