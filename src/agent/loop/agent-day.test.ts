import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { OciError } from "../../oci/oci-error.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const minute = 60_000;
const hour = 60 * minute;

test("a day in the life of a node", async (t) => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-0");
  setting.putDisk(diskIdentity("a", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  for (let now = 0; now < 24; now++) {
    // Wall clocks jump; nothing depends on them.
    setting.clock.wall = now % 2 === 0 ? 0 : 2 ** 33;
    if (now === 6) setting.registry.fail("docker.io", new OciError("registry-unreachable", "no answer"));
    if (now === 8) setting.registry.fail("docker.io", undefined);
    if (now % 4 === 1 && now !== 5) setting.publish(web, `web-${now}`);
    if (now === 10) setting.node.others.stop();
    await setting.advance(10 * minute);
    if (now === 10) setting.node.others.start();
    setting.node.others.removeImage(now % 2 === 0 ? web : db);
    await setting.advance(50 * minute);
    const { [web]: ofWeb, [db]: ofDb } = setting.phases();
    assert.equal(ofDb, "Warm", `hour ${now}`);
    // Without its registry nobody can bring back what was deleted.
    assert.equal(ofWeb, now === 6 || now === 7 ? "Failed" : "Warm", `hour ${now}`);
  }
  assert.equal(setting.node.runtime.tag(web), testDigest("web-21"));
  // Of previous images only that is left whose hour is not over.
  const { images } = await setting.node.images.observe({ signal: new AbortController().signal });
  const left = images.filter(({ name }) => name.startsWith("docker.io/library/web@"));
  assert.deepEqual(
    left.map(({ digest }) => digest),
    [testDigest("web-21")],
  );
  const asked = setting.registry.requests.filter((request) => request === web).length;
  t.diagnostic(`${asked} questions about a tag in a day`);
  assert.ok(asked > 24 * 10 && asked < 24 * 16, `${asked} questions`);
  const failures = setting.log.filter(({ event }) => event === "action-failed").length;
  assert.ok(failures < 100, `${failures} failures`);
});

test("a node where nothing happens is left in peace", async () => {
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(10 * minute);
  let passes = 0;
  const stop = new AbortController();
  const counting = (async () => {
    for await (const _ of setting.agent.changes({ signal: stop.signal })) passes++;
  })();
  const lines = setting.log.length;
  await setting.advance(24 * hour);
  stop.abort();
  await counting;
  assert.ok(passes >= 280 && passes <= 320, `${passes} passes`);
  assert.equal(setting.log.length, lines);
});

test("two sets that disagree about one image get one answer, and each its own gate", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  const patient = { images: [{ ref: "web:1", gate: false, priority: 1, refresh: { interval: "1h" } }] };
  const urgent = {
    images: [
      { ref: "docker.io/library/web:1", priority: 7, refresh: { interval: "1m" } },
      { ref: "none:1", refresh: "Never" as const },
    ],
    gateTimeout: "30m",
  };
  setting.wish([imageSet("patient", patient), imageSet("urgent", urgent)]);
  await setting.start();
  await setting.advance(minute);
  const { sets, gate, priority } = setting.image(web);
  assert.deepEqual([sets, gate, priority], [["patient", "urgent"], true, 7]);
  assert.deepEqual(
    setting.agent.status.sets.map(({ name, images, warm }) => [name, images, warm]),
    [
      ["patient", 1, 1],
      ["urgent", 2, 1],
    ],
  );
  assert.equal(setting.agent.status.gate.isReady, false);
  await setting.advance(30 * minute);
  assert.equal(setting.agent.status.gate.isReady, true);
  setting.publish(web, "web-2");
  await setting.advance(2 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-2"), "the shortest interval counts");
});
