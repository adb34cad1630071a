import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { testImage } from "../../../test/support/agent/memory-images.ts";
import { OciError } from "../../oci/oci-error.ts";
import { memoryImage } from "../../runtime/memory-image-keeper.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const minute = 60_000;

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
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
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
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
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
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
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
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
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

test("a disk that gives a listed tag another digest does not move it", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  const moves: unknown[] = [];
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-0"), [db]: testDigest("db-1") }), ["web-0", "db-1"]);
  for (let i = 0; i < 50; i++) {
    await setting.advance(20);
    moves.push(setting.node.runtime.tag(web));
  }
  assert.deepEqual([...new Set(moves)], [testDigest("web-1")]);
  assert.equal(setting.phases()[db], "Warm");
});

test("a disk that has what a tag moved to is preferred to the network", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-2") }), ["web-2"]);
  setting.publish(web, "web-2");
  await setting.advance(6 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-2"));
  assert.equal(setting.image(web).source, "disk");
  assert.deepEqual(
    setting.registry.requests.filter((request) => request.includes("@")),
    [`docker.io/library/web@${testDigest("web-1")}`],
  );
});

test("a newer disk takes over, and the older one is released with its last user", async () => {
  await using setting = new AgentSetting();
  const words = ["web-1", "web-2", "db-1"];
  const older = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
  const newer = diskIdentity("a", 2, { [web]: testDigest("web-2") });
  const { path } = setting.putDisk(older, words);
  setting.wish([], { disks: { removeReleased: true } });
  await setting.start();
  await setting.advance(1000);
  const container = setting.node.others.startContainer(web);
  setting.putDisk(newer, words);
  await setting.advance(minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-2"));
  assert.deepEqual(diskPhases(setting), { [older.id]: "Replaced", [newer.id]: "Injected" });
  setting.holders.users.set(path, [{ kind: "container", name: container }]);
  setting.node.others.removeContainer(container);
  await setting.advance(6 * minute);
  assert.deepEqual(diskPhases(setting), { [older.id]: "Replaced", [newer.id]: "Injected" }, "its mount is held");
  assert.equal(setting.agent.status.disks.find(({ id }) => id === older.id)?.isSafeToDetach, false);
  assert.deepEqual(setting.disks.removed, []);
  setting.holders.users.clear();
  await setting.advance(6 * minute);
  assert.deepEqual(setting.disks.removed, [path]);
});

test("a disk that is away for a moment changes nothing, and one that stays away is replaced by the registry", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
  const { path } = setting.putDisk(disk, ["web-1", "db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
  const yank = () => {
    setting.disks.take(path);
    setting.node.others.setAway(disk.id, true);
  };
  yank();
  await setting.advance(5 * minute);
  assert.equal(setting.phases()[web], "Held");
  assert.deepEqual(diskPhases(setting), { [disk.id]: "Away" });
  setting.putDisk(disk, []);
  await setting.advance(minute);
  assert.equal(setting.phases()[web], "Warm");
  assert.equal(setting.image(web).source, "disk");
  yank();
  await setting.advance(12 * minute);
  assert.equal(setting.phases()[web], "Warm");
  assert.equal(setting.image(web).source, "registry");
  assert.equal(setting.node.runtime.tag(db), undefined, "the runtime sees it as absent");
  assert.deepEqual(diskPhases(setting), {});
});

test("a container runs on while its disk is lost for good and its image is healed by fetching", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  const { path } = setting.putDisk(disk, ["web-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })], { disks: { folders: ["/disks"] } });
  await setting.start();
  await setting.advance(1000);
  const container = setting.node.others.startContainer(web);
  setting.disks.take(path);
  setting.node.others.setAway(disk.id, true);
  await setting.advance(12 * minute);
  assert.equal(setting.phases()[web], "Warm");
  assert.equal(setting.image(web).source, "registry");
  assert.deepEqual(setting.image(web).heldBy, [{ kind: "container", name: container }]);
  setting.node.others.startContainer(web);
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

test("a disk ejected by hand stays ejected over a restart, until it is injected by hand", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  const { path } = setting.putDisk(disk, ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  const signal = new AbortController().signal;
  await setting.agent.ejectByHand(disk.id, { wait: false, materialize: false, signal });
  await setting.advance(minute);
  assert.equal(setting.node.runtime.tag(web), undefined);
  await setting.restart();
  await setting.advance(10 * minute);
  assert.equal(setting.node.runtime.tag(web), undefined);
  assert.deepEqual(diskPhases(setting), { [disk.id]: "Released" });
  const options = { handlers: "all", force: false, chains: true, signal } as const;
  await setting.agent.injectByHand(path, options);
  await setting.advance(minute);
  assert.equal(setting.phases()[web], "Warm");
  assert.deepEqual(setting.state.durable.holds, []);
});

test("an ejection that is refused leaves no hold", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  setting.putDisk(disk, ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  setting.node.others.startContainer(web);
  const signal = new AbortController().signal;
  await assert.rejects(setting.agent.ejectByHand(disk.id, { wait: false, materialize: false, signal }), /in use/);
  await setting.advance(minute);
  assert.deepEqual(setting.state.durable.holds, []);
  assert.equal(setting.phases()[web], "Warm");
});

test("workloads wait for a disk that is being verified, where no image set gates them, but not for one that is in use", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  setting.putDisk(disk, ["web-1"], { state: "checking", trustEntry: "", checkedShare: 0.5 });
  setting.wish([]);
  await setting.start();
  await setting.advance(minute);
  assert.equal(setting.agent.status.gate.isReady, false);
  setting.putDisk(disk, ["web-1"]);
  await setting.advance(1000);
  assert.equal(setting.agent.status.gate.isReady, true);
  setting.putDisk(disk, ["web-1"], { state: "checking", trustEntry: "", checkedShare: 0.5 });
  await setting.restart();
  await setting.advance(1000);
  assert.equal(setting.agent.status.gate.isReady, true);
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

test("the runtime restarts, events are swallowed, and all is warm again", async () => {
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
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
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })]);
  await setting.start();
  await setting.advance(1000);
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

test("a hostile device with the line and the highest sequence changes nothing", async () => {
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(1000);
  const evil = diskIdentity("a", 1e9, { [web]: testDigest("evil") });
  setting.putDisk(evil, ["evil"], { path: "/dev/sdz", kind: "device", state: "refused", reason: "not allowed" });
  await setting.advance(10 * minute);
  assert.equal(setting.node.runtime.tag(web), testDigest("web-1"));
  assert.deepEqual(diskPhases(setting)[evil.id], "Refused");
  assert.equal(setting.agent.status.disks.length, 2);
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

test("what is done and changes nothing is not done over and over", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  const { path } = setting.putDisk(disk, ["web-1"]);
  setting.wish([], { disks: { folders: ["/disks"] } });
  await setting.start();
  await setting.advance(1000);
  const { runtime } = setting.node;
  runtime.eject = async () => ({ disks: [] });
  setting.disks.take(path);
  const lines = setting.log.length;
  await setting.advance(70 * minute);
  const ejections = setting.log.slice(lines).filter(({ message }) => message === "eject done");
  assert.ok(ejections.length >= 10 && ejections.length < 30, `${ejections.length} ejections in an hour`);
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

function diskPhases(setting: AgentSetting): Readonly<Record<string, string>> {
  return Object.fromEntries(setting.agent.status.disks.map(({ id, phase }) => [id, phase]));
}

async function observe({ node }: AgentSetting, name: string) {
  const { images } = await node.images.observe({ signal: new AbortController().signal });
  return images.find((image) => image.name === name);
}
