import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { OciError } from "../../oci/oci-error.ts";
import { parseReference } from "../../oci/reference.ts";
import { MemoryNodeState } from "../state/memory-state.ts";
import { RuntimeState } from "../state/runtime-state.ts";

/** What an agent remembers: of registries that lie, of space that was short, of what persons did to one of two runtimes. */

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const minute = 60_000;
const signal = new AbortController().signal;
const conditions = (setting: AgentSetting, name = web) => setting.image(name).conditions.map(({ type }) => type);

/** A node on which the first image of the tag is warm. */
async function warmNode(): Promise<AgentSetting> {
  const setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  assert.equal(setting.phases()[web], "Warm");
  return setting;
}

/** The registry says that the tag stands for what it does not have. */
function lie(setting: AgentSetting, word = "never"): void {
  setting.registry.setTag(parseReference(web), testDigest(word));
}

describe("a registry that names what it does not give", () => {
  test("changes nothing on the node or in the state, shows, and is asked again later and later", async () => {
    await using setting = await warmNode();
    lie(setting);
    await setting.advance(60 * minute);
    const { phase, digest, lastError } = setting.image(web);
    assert.deepEqual([phase, digest, conditions(setting)], ["Warm", testDigest("web-1"), ["DigestUnavailable"]]);
    assert.match(lastError ?? "", /The registry has no/);
    assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
    assert.equal(setting.state.record.tags[web]?.digest, testDigest("web-1"));
    const asked = setting.registry.requests.filter((request) => request.includes(testDigest("never"))).length;
    assert.ok(asked > 10 && asked < 25, `${asked} tries`);
    setting.publish(web, "web-2");
    await setting.advance(6 * minute);
    assert.deepEqual([setting.image(web).digest, conditions(setting)], [testDigest("web-2"), []]);
    assert.equal(setting.state.record.tags[web]?.digest, testDigest("web-2"));
  });

  test("is not believed after a restart either, and the gate opens on the last good image", async () => {
    await using setting = await warmNode();
    lie(setting);
    await setting.advance(10 * minute);
    await setting.restart();
    await setting.advance(minute);
    assert.deepEqual([setting.phases()[web], conditions(setting)], ["Warm", ["DigestUnavailable"]]);
    assert.equal(setting.agent.status.gate.isReady, true);
  });

  test("gives the last good image again when others delete that, before and after a restart", async () => {
    await using setting = await warmNode();
    lie(setting);
    await setting.advance(10 * minute);
    for (const name of [web, `docker.io/library/web@${testDigest("web-1")}`]) setting.node.others.removeImage(name);
    await setting.advance(minute);
    assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
    await setting.restart();
    setting.node.others.removeImage(web);
    await setting.advance(minute);
    assert.deepEqual([setting.phases()[web], setting.node.runtime.tag(web)], ["Warm", testDigest("web-1")]);
  });

  test("does not keep a disk from giving the last good image", async () => {
    await using setting = await warmNode();
    lie(setting);
    await setting.advance(10 * minute);
    setting.registry.fail("docker.io", new OciError("registry-unreachable", "docker.io does not answer"));
    setting.node.others.removeImage(web);
    await setting.advance(minute);
    assert.equal(setting.phases()[web], "Failed");
    setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
    await setting.advance(minute);
    assert.deepEqual([setting.phases()[web], setting.image(web).source], ["Warm", "disk"]);
  });

  test("keeps the image that others had pulled before the agent knew of the tag", async () => {
    await using setting = await warmNode();
    lie(setting);
    await setting.restart(false);
    await setting.advance(minute);
    assert.deepEqual([setting.phases()[web], setting.node.runtime.tag(web)], ["Warm", testDigest("web-1")]);
    await setting.restart();
    setting.node.others.removeImage(web);
    await setting.advance(minute);
    assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
  });
});

test("while a new digest is fetched the image is warm, and that shows", async () => {
  await using setting = await warmNode();
  setting.latencyMs = 5000;
  setting.publish(web, "web-2");
  for (let waited = 0; conditions(setting).length === 0 && waited < 20 * minute; waited += 1000)
    await setting.advance(1000);
  assert.deepEqual([setting.phases()[web], conditions(setting)], ["Warm", ["Updating"]]);
  await setting.advance(minute);
  assert.deepEqual([setting.image(web).digest, conditions(setting)], [testDigest("web-2"), []]);
});

test("what was given up for space is not fetched again after a restart until there has been room for ten minutes", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1", gate: false }] })]);
  await setting.start();
  await setting.advance(1000);
  setting.space.percent = 85;
  await setting.advance(6 * minute);
  assert.deepEqual(Object.keys(setting.state.durable.evicted), [testDigest("web-1")]);
  setting.space.percent = 60;
  for (const wall of [0, 2 ** 40]) {
    setting.clock.wall = wall;
    await setting.restart();
    await setting.advance(9 * minute);
    assert.deepEqual([setting.phases()[web], conditions(setting)], ["Held", ["Evicted"]]);
  }
  await setting.advance(2 * minute);
  assert.deepEqual([setting.phases()[web], conditions(setting)], ["Warm", []]);
  assert.deepEqual(setting.state.durable.evicted, {});
});

test("a disk that a person ejects from one runtime stays in the other, and so does what was injected by hand", async () => {
  const node = new MemoryNodeState();
  await using first = new AgentSetting(new RuntimeState(node, "containerd /run/containerd/containerd.sock k8s.io"));
  await using second = new AgentSetting(new RuntimeState(node, "docker-graph /run/docker.sock"));
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
  for (const setting of [first, second]) {
    setting.putDisk(disk, ["web-1", "db-1"]);
    setting.wish([]);
    await setting.start();
    await setting.advance(1000);
  }
  await first.whileTimePasses(first.agent.ejectByHand(disk.id, { wait: false, materialize: false, signal }));
  for (const setting of [first, second]) await setting.advance(6 * minute);
  assert.deepEqual([first.phases(), second.phases()], [{}, { [web]: "Warm", [db]: "Warm" }]);
  const path = second.putDisk(disk, ["web-1", "db-1"]).path;
  second.wish([], { disks: { inject: "Listed" } });
  await second.advance(1000);
  const injecting = { handlers: "all", force: false, chains: true, images: [web], signal } as const;
  await second.whileTimePasses(second.agent.injectByHand(path, injecting));
  await second.advance(minute);
  assert.deepEqual(
    Object.values(node.record.runtimes).map(({ holds, byHand }) => [holds.length, Object.keys(byHand)]),
    [
      [1, []],
      [0, [disk.id]],
    ],
  );
});

describe("a fault of the agent", () => {
  test("in one pass is told and tried again later and later, and what is asked meanwhile is answered", async () => {
    await using setting = await warmNode();
    const disk = diskIdentity("a", 1, { [db]: testDigest("db-1") });
    // Of another type than it may be, so that a pass throws: the cast lets it.
    const { path } = setting.putDisk({ ...disk, images: undefined as never }, ["db-1"]);
    await setting.advance(10 * minute);
    const types = () => setting.agent.status.conditions.map(({ type }) => type);
    assert.deepEqual(types(), ["LoopFailed"]);
    assert.equal(setting.log.filter(({ event }) => event === "pass-failed").length, 1, "told once");
    assert.equal(setting.phases()[web], "Warm");
    setting.disks.take(path);
    setting.node.others.removeImage(web);
    await setting.advance(minute);
    assert.deepEqual([types(), setting.phases()], [[], { [web]: "Warm" }]);
  });

  test("in what is seen of the node does not end the agent, and its gate opens in time", async () => {
    await using setting = new AgentSetting();
    setting.wish([imageSet("a", { images: [{ ref: "web:1" }], gateTimeout: "2m" })]);
    let looks = 0;
    setting.node.images.observe = async () => {
      looks += 1;
      // Of another type than it may be, so that a pass throws: the cast lets it.
      const content = { digest: testDigest("x"), isWarm: true, missing: "", users: undefined as never };
      return { images: [], contents: new Map([[content.digest, content]]) };
    };
    await setting.start();
    await setting.advance(11 * minute);
    assert.deepEqual(
      setting.agent.status.conditions.map(({ type }) => type),
      ["LoopFailed"],
    );
    assert.ok(looks > 10 && looks < 40, `${looks} looks`);
    assert.equal(setting.agent.status.gate.isReady, true);
  });

  test("ends an agent that is to run once, after three tries", async () => {
    await using setting = new AgentSetting();
    setting.wish([]);
    // Of another type than it may be, so that a pass throws: the cast lets it.
    setting.putDisk({ ...diskIdentity("a", 1, {}), images: undefined as never }, []);
    await setting.start(true);
    await setting.advance(minute);
    assert.deepEqual(
      (await setting.stop())?.conditions.map(({ type }) => type),
      ["LoopFailed"],
    );
  });
});
