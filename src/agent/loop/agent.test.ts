import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { testImage } from "../../../test/support/agent/memory-images.ts";
import { OciError } from "../../oci/oci-error.ts";
import { parseReference } from "../../oci/reference.ts";
import { memoryImage } from "../../runtime/memory-image-keeper.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const minute = 60_000;

/** An agent that has fetched the one image that is listed. */
async function fetchedWeb(): Promise<AgentSetting> {
  const setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  return setting;
}

/** An agent that has injected a disk with one image, and lists nothing. */
async function injectedWeb(): Promise<AgentSetting> {
  const setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  return setting;
}

test("a listed image is fetched, and its tag set", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  assert.equal(setting.agent.status.gate.isReady, false);
  await setting.advance(1000);
  assert.deepEqual(setting.phases(), { [web]: "Warm" });
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
  assert.equal(setting.image(web).source, "registry");
  assert.equal(setting.agent.status.gate.isReady, true);
  assert.deepEqual(setting.agent.status.conditions, []);
});

test("all images of a trusted disk are usable, and the registry is not asked for them", async () => {
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") }), ["web-1", "db-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  assert.deepEqual(setting.phases(), { [web]: "Warm", [db]: "Warm" });
  assert.deepEqual(setting.registry.requests, []);
  assert.deepEqual(
    setting.agent.status.disks.map(({ phase }) => phase),
    ["Injected"],
  );
});

test("an image that others delete is back after a moment", async () => {
  await using setting = new AgentSetting();
  setting.publish(db, "db-1");
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "db:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  for (const name of [web, db]) setting.node.others.removeImage(name);
  await setting.advance(50);
  assert.equal(setting.node.runtime.tag(web), undefined, "who deletes is not met halfway");
  await setting.advance(450);
  assert.deepEqual(setting.phases(), { [db]: "Warm", [web]: "Warm" });
  assert.equal(setting.image(web).disappearances, 1);
});

test("what something keeps deleting is restored less and less often, and that shows", async () => {
  await using setting = await injectedWeb();
  for (let round = 0; round < 30; round++) {
    setting.node.others.removeImage(web);
    await setting.advance(1000);
  }
  const { conditions, disappearances } = setting.image(web);
  assert.ok(disappearances >= 5 && disappearances < 15, `${disappearances} times`);
  assert.deepEqual(
    conditions.map(({ type }) => type),
    ["KeepsDisappearing"],
  );
  await setting.advance(10 * minute);
  assert.equal(setting.phases()[web], "Warm");
});

test("a tag that moves in the registry moves on the node once the new image is warm, and the previous one stays an hour", async () => {
  await using setting = await fetchedWeb();
  const container = setting.node.others.startContainer(web);
  setting.publish(web, "web-2");
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-2"));
  const previous = `docker.io/library/web@${testDigest("web-1")}`;
  await setting.advance(120 * minute);
  assert.equal(setting.node.runtime.tag(previous), testDigest("web-1"), "a container holds it");
  setting.node.others.removeContainer(container);
  await setting.advance(50 * minute);
  assert.equal(setting.node.runtime.tag(previous), testDigest("web-1"));
  await setting.advance(20 * minute);
  assert.equal(setting.node.runtime.tag(previous), undefined);
});

test("while the registry is down the last digest stays, and that shows", async () => {
  await using setting = await fetchedWeb();
  setting.registry.fail("docker.io", new OciError("registry-unreachable", "docker.io does not answer"));
  await setting.advance(20 * minute);
  assert.equal(setting.phases()[web], "Warm");
  assert.deepEqual(
    setting.image(web).conditions.map(({ type }) => type),
    ["RegistryUnreachable"],
  );
  setting.node.others.removeImage(web);
  await setting.advance(minute);
  assert.equal(setting.phases()[web], "Failed");
  setting.registry.fail("docker.io", undefined);
  await setting.advance(6 * minute);
  assert.equal(setting.phases()[web], "Warm");
});

test("a tag that somebody else moved is left until the registry has said what it stands for", async () => {
  await using setting = await fetchedWeb();
  setting.registry.fail("docker.io", new OciError("registry-unreachable", "docker.io does not answer"));
  setting.node.others.pull(web, memoryImage(testImage("other")));
  await setting.advance(minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("other"));
  assert.equal(setting.phases()[web], "Held");
  setting.registry.fail("docker.io", undefined);
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
  assert.equal(setting.phases()[web], "Warm");
});

test("a tag that is asked for once is asked for again when the registry does not have what it named", async () => {
  await using setting = new AgentSetting();
  setting.registry.setTag(parseReference(web), testDigest("never"));
  setting.wish([imageSet("a", { images: [{ ref: "web:1", refresh: "Never" }] })]);
  await setting.start();
  await setting.advance(1000);
  assert.deepEqual(setting.phases(), { [web]: "Failed" });
  setting.publish(web, "web-1");
  await setting.advance(6 * minute);
  assert.deepEqual(setting.phases(), { [web]: "Warm" });
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
  setting.publish(web, "web-2");
  await setting.restart(true);
  await setting.advance(60 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
});

test("above the mark fetched images are given up, the least wanted first, and they come back when there is room", async () => {
  await using setting = new AgentSetting();
  const names = ["low", "high", "gated", "used"].map((name) => `docker.io/library/${name}:1`);
  for (const name of names) setting.publish(name, name);
  setting.wish([
    imageSet("a", {
      images: [
        { ref: "high:1", gate: false, priority: 2 },
        { ref: "low:1", gate: false, priority: 1 },
        { ref: "used:1", gate: false, priority: 0 },
        { ref: "gated:1" },
      ],
    }),
  ]);
  await setting.start();
  await setting.advance(1000);
  assert.ok(Object.values(setting.phases()).every((phase) => phase === "Warm"));
  setting.node.others.startContainer("docker.io/library/used:1");
  setting.space.percent = 85;
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag("docker.io/library/low:1"), undefined);
  assert.equal(setting.node.runtime.tag("docker.io/library/high:1"), undefined);
  assert.equal(setting.image("docker.io/library/low:1").phase, "Held");
  assert.deepEqual(
    setting.image("docker.io/library/low:1").conditions.map(({ type }) => type),
    ["Evicted"],
  );
  assert.equal(setting.phases()["docker.io/library/gated:1"], "Warm");
  assert.equal(setting.phases()["docker.io/library/used:1"], "Warm");
  setting.space.percent = 70;
  await setting.advance(9 * minute);
  assert.equal(setting.image("docker.io/library/high:1").phase, "Held");
  await setting.advance(8 * minute);
  assert.equal(setting.phases()["docker.io/library/high:1"], "Warm");
});

test("nothing is fetched from high water on, and disks are injected all the same", async () => {
  await using setting = new AgentSetting();
  setting.space.inodePercent = 76;
  setting.publish(web, "web-1");
  setting.putDisk(diskIdentity("a", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(minute);
  assert.deepEqual(setting.phases(), { [web]: "Held", [db]: "Warm" });
  assert.match(setting.image(web).reason, /^no space: 76 %/);
  setting.space.inodePercent = 10;
  await setting.advance(minute);
  assert.equal(setting.phases()[web], "Warm");
});

test("what is no longer listed goes when nothing uses it; what others pulled stays", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.publish(db, "db-1");
  setting.node.others.pull(db, memoryImage(testImage("db-1")));
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "db:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  assert.equal((await observe(setting, db))?.isPinned, true);
  const container = setting.node.others.startContainer(web);
  setting.wish([]);
  await setting.advance(minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"), "it is in use");
  setting.node.others.removeContainer(container);
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag(web), undefined);
  assert.equal(setting.node.runtime.tag(db), testDigest("db-1"));
  assert.equal((await observe(setting, db))?.isPinned, false);
  assert.deepEqual(setting.state.record.tags, {});
});

test("a gate opens when its time is up, or stays closed, as its set says", async () => {
  for (const onTimeout of ["Open", "Closed"] as const) {
    await using setting = new AgentSetting();
    setting.wish([imageSet("a", { images: [{ ref: "web:1" }], gateTimeout: "2m", onTimeout })]);
    await setting.start();
    await setting.advance(minute);
    assert.equal(setting.agent.status.gate.isReady, false);
    await setting.advance(2 * minute);
    assert.equal(setting.agent.status.gate.isReady, onTimeout === "Open");
    setting.publish(web, "web-1");
    await setting.advance(10 * minute);
    assert.equal(setting.agent.status.gate.isReady, true);
    setting.registry.fail("docker.io", new Error("down"));
    setting.node.others.removeImage(web);
    await setting.advance(minute);
    assert.equal(setting.agent.status.gate.isReady, true, "ready stays ready");
  }
});

test("that events do not arrive is said until they do, also when a look at the node sees everything", async () => {
  await using setting = new AgentSetting();
  setting.wish([]);
  await setting.start();
  await setting.advance(minute);
  const said = () => setting.agent.status.conditions.map(({ message }) => message);
  setting.node.others.swallowEvents(true, true);
  await setting.advance(10 * minute);
  assert.deepEqual(said(), ["events do not arrive"]);
  setting.node.others.swallowEvents(false);
  await setting.advance(1000);
  assert.deepEqual(said(), []);
});

test("the runtime restarts, events are swallowed, and all is warm again", async () => {
  await using setting = await injectedWeb();
  setting.node.others.stop();
  await setting.advance(minute);
  assert.deepEqual(
    setting.agent.status.conditions.map(({ type }) => type),
    ["RuntimeUnavailable"],
  );
  setting.node.others.start();
  await setting.advance(1000);
  assert.deepEqual(setting.agent.status.conditions, []);
  setting.node.others.swallowEvents(true);
  setting.node.others.removeImage(web);
  await setting.advance(minute);
  assert.equal(setting.node.runtime.tag(web), undefined);
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"), "found by comparing");
});

test("a configuration that cannot be used leaves the last one in force", async () => {
  await using setting = await fetchedWeb();
  setting.configuration.tell({ type: "problem", message: "a.yaml:1:1: nonsense" });
  setting.node.others.removeImage(web);
  await setting.advance(1000);
  assert.equal(setting.phases()[web], "Warm");
  assert.deepEqual(setting.agent.status.conditions, [
    { type: "ConfigurationInvalid", message: "a.yaml:1:1: nonsense" },
  ]);
  setting.wish([]);
  await setting.advance(1000);
  assert.deepEqual(setting.agent.status.conditions, []);
});

test("once: ends when all is warm, or when what fails has been tried", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "missing:1" }] })]);
  await setting.start(true);
  await setting.advance(minute);
  const status = await setting.stop();
  assert.deepEqual(
    status?.images.map(({ phase }) => phase),
    ["Warm", "Failed"],
  );
  assert.equal(setting.registry.requests.filter((request) => request.includes("missing")).length, 3);
});

test("once: ends without a configuration that can be used, and without a runtime", async () => {
  await using setting = new AgentSetting();
  setting.configuration.tell({ type: "problem", message: "a.yaml:1:1: nonsense" });
  const ended = setting.agent.run({ signal: new AbortController().signal, once: true });
  await setting.advance(1000);
  assert.deepEqual(
    (await ended).conditions.map(({ type }) => type),
    ["ConfigurationInvalid"],
  );
  await using stopped = new AgentSetting();
  stopped.wish([]);
  stopped.node.others.stop();
  const given = stopped.agent.run({ signal: new AbortController().signal, once: true });
  await stopped.advance(minute);
  assert.deepEqual(
    (await given).conditions.map(({ type }) => type),
    ["RuntimeUnavailable"],
  );
});

test("two names of one digest share a fetch, and sets bound how many come at once", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "same");
  setting.publish("docker.io/library/web:2", "same");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }, { ref: "web:2" }], parallelism: 1 })]);
  await setting.start();
  await setting.advance(1000);
  assert.deepEqual(Object.values(setting.phases()), ["Warm", "Warm"]);
  assert.equal(setting.registry.requests.filter((request) => request.includes("@")).length, 1);
});

async function observe({ node }: AgentSetting, name: string) {
  const { images } = await node.images.observe({ signal: new AbortController().signal });
  return images.find((image) => image.name === name);
}

test("a look at the node that does not end shows", async () => {
  await using setting = new AgentSetting();
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  const conditions = () => setting.agent.status.conditions.map(({ type }) => type);
  const hanging = Promise.withResolvers<never>();
  setting.disks.find = () => hanging.promise;
  setting.disks.tellChange();
  await setting.advance(minute);
  assert.deepEqual(conditions(), []);
  await setting.advance(2 * minute);
  assert.deepEqual(conditions(), ["LoopStuck"]);
  hanging.reject(new Error("it answers again"));
});

test("what is wrong with the way to registries shows while images come all the same", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  setting.registry.problems.push("hosts.toml of docker.io cannot be read");
  await setting.start();
  await setting.advance(1000);
  assert.equal(setting.phases()[web], "Warm");
  assert.deepEqual(setting.agent.status.conditions, [
    { type: "RegistryAccess", message: "hosts.toml of docker.io cannot be read" },
  ]);
});
