import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";

const web = "docker.io/library/web:1";
const db = "docker.io/library/db:1";
const minute = 60_000;

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

test("of a disk that was removed under a container the image is fetched, and the container runs on", async () => {
  await using setting = new AgentSetting();
  setting.publish(web, "web-1");
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
  const { path } = setting.putDisk(disk, ["web-1", "db-1"]);
  setting.wish([imageSet("a", { images: [{ ref: "web:1" }] })], { disks: { folders: ["/disks"] } });
  await setting.start();
  await setting.advance(1000);
  const container = setting.node.others.startContainer(web);
  setting.disks.take(path);
  await setting.advance(9 * minute);
  assert.deepEqual([setting.phases()[web], setting.image(web).source], ["Warm", "disk"]);
  assert.deepEqual(diskPhases(setting), { [disk.id]: "Away" });
  await setting.advance(3 * minute);
  assert.deepEqual([setting.phases()[web], setting.image(web).source], ["Warm", "registry"]);
  assert.equal(setting.node.runtime.tag(db), undefined, "the runtime sees it as absent");
  assert.deepEqual(setting.image(web).heldBy, [{ kind: "container", name: container }]);
});

test("nothing starts from a disk that was changed in place, and all is well when it is whole again", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  setting.putDisk(disk, ["web-1"]);
  setting.wish([], { disks: { folders: ["/disks"] } });
  await setting.start();
  await setting.advance(1000);
  setting.node.others.startContainer(web);
  setting.putDisk(disk, ["web-1"], { state: "checking", isAltered: true });
  await setting.advance(1000);
  assert.throws(() => setting.node.others.startContainer(web), /is not mounted/);
  setting.putDisk(disk, ["web-1"], { state: "broken", isAltered: true });
  await setting.advance(5 * minute);
  assert.throws(() => setting.node.others.startContainer(web), /is not mounted/);
  setting.putDisk(disk, ["web-1"]);
  await setting.advance(1000);
  setting.node.others.startContainer(web);
  assert.deepEqual(diskPhases(setting), { [disk.id]: "Injected" });
});

test("a disk that is pulled out is not held by images of another disk that has the same layers", async () => {
  await using setting = new AgentSetting();
  const first = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  const { path } = setting.putDisk(first, ["web-1"]);
  setting.wish([], { disks: { folders: ["/disks"] } });
  await setting.start();
  await setting.advance(1000);
  setting.putDisk(diskIdentity("b", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  await setting.advance(1000);
  const container = setting.node.others.startContainer(web);
  setting.disks.take(path);
  setting.node.others.setAway(first.id, true);
  await setting.advance(12 * minute);
  assert.equal(setting.agent.status.disks.length, 1);
  assert.deepEqual([setting.phases()[web], setting.image(web).source], ["Warm", "disk"]);
  assert.deepEqual(setting.image(web).heldBy, [{ kind: "container", name: container }]);
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

test("who holds a disk is not asked before it is injected, and is asked at once when nothing is to be done with it", async () => {
  await using setting = new AgentSetting();
  setting.latencyMs = 50;
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  setting.putDisk(disk, ["web-1"]);
  setting.wish([]);
  await setting.start();
  await setting.advance(minute);
  assert.deepEqual(diskPhases(setting), { [disk.id]: "Injected" });
  const { path } = setting.putDisk(diskIdentity("b", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  await setting.advance(minute);
  assert.equal(setting.holders.asked.length, 0);

  setting.wish([], { disks: { inject: "Listed" } });
  await setting.restart();
  const listedNowhere = setting.putDisk(diskIdentity("c", 1, { [db]: testDigest("db-1") }), ["db-1"]);
  await setting.advance(1000);
  assert.ok(!setting.holders.asked.includes(path));
  assert.ok(setting.holders.asked.includes(listedNowhere.path));
  const safe = setting.agent.status.disks.filter(({ isSafeToDetach }) => isSafeToDetach).map((each) => each.path);
  assert.deepEqual(safe, [listedNowhere.path]);
});

test("a file is removed also where the agent runs once and nothing else is to be done", async () => {
  await using setting = new AgentSetting();
  setting.putDisk(diskIdentity("a", 2, { [web]: testDigest("web-2") }), ["web-2"]);
  setting.wish([], { disks: { removeReleased: true } });
  await setting.start();
  await setting.advance(minute);
  const older = setting.putDisk(diskIdentity("a", 1, { [web]: testDigest("web-1") }), ["web-1"]);
  await setting.restart(true, true);
  await setting.advance(100);
  assert.deepEqual(setting.disks.removed, [older.path]);
});

test("what is injected by hand of a disk stays, and no more of it, where only listed images are wanted", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1"), [db]: testDigest("db-1") });
  const { path } = setting.putDisk(disk, ["web-1", "db-1"]);
  setting.wish([], { disks: { inject: "Listed" } });
  await setting.start();
  await setting.advance(1000);
  const signal = new AbortController().signal;
  const options = { handlers: "all", force: false, chains: true, images: [db], signal } as const;
  await setting.agent.injectByHand(path, options);
  await setting.advance(10 * minute);
  await setting.restart();
  await setting.advance(10 * minute);
  assert.deepEqual(setting.phases(), { [db]: "Warm" });
  assert.deepEqual([setting.node.runtime.tag(web), setting.node.runtime.tag(db)], [undefined, testDigest("db-1")]);
});

test("an injection by hand that fails is not tried for ever, and leaves a hold as it was", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  const { path } = setting.putDisk(disk, ["web-1"]);
  setting.wish([], { disks: { inject: "Listed" } });
  await setting.start();
  await setting.advance(1000);
  const signal = new AbortController().signal;
  const options = { handlers: "all", force: false, chains: true, signal } as const;
  await setting.agent.ejectByHand(disk.id, { wait: false, materialize: false, signal }).catch(() => {});
  const { holds } = setting.state.durable;
  setting.node.runtime.inject = async () => {
    throw new Error("this kernel cannot mount it");
  };
  await assert.rejects(setting.agent.injectByHand(path, options), /cannot mount it/);
  assert.deepEqual([setting.state.durable.byHand, setting.state.durable.holds], [{}, holds]);
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

test("workloads wait for a disk that has not said yet what it is, unless only listed images are injected", async () => {
  for (const inject of ["All", "Listed"] as const) {
    await using setting = new AgentSetting();
    const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
    setting.putDisk(disk, ["web-1"], { state: "checking", identity: undefined, reason: "it is asked what it is" });
    setting.wish([], { disks: { inject } });
    await setting.start();
    await setting.advance(minute);
    const { gate, disks } = setting.agent.status;
    assert.equal(gate.isReady, inject === "Listed", gate.reason);
    assert.deepEqual(
      disks.map(({ phase, reason }) => [phase, reason]),
      [["Checking", "it is asked what it is"]],
    );
    setting.putDisk(disk, ["web-1"]);
    await setting.advance(1000);
    assert.equal(setting.agent.status.gate.isReady, true);
    assert.equal(setting.phases()[web], inject === "All" ? "Warm" : undefined);
  }
});

test("workloads wait at most ten minutes for a disk that does not say what it is", async () => {
  await using setting = new AgentSetting();
  const disk = diskIdentity("a", 1, { [web]: testDigest("web-1") });
  setting.putDisk(disk, ["web-1"], { state: "checking", identity: undefined, reason: "it is asked what it is" });
  setting.wish([]);
  await setting.start();
  await setting.advance(9 * minute);
  assert.equal(setting.agent.status.gate.isReady, false);
  await setting.advance(2 * minute);
  assert.equal(setting.agent.status.gate.isReady, true);
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
  const ejections = setting.log
    .slice(lines)
    .filter(({ event, fields }) => event === "action-done" && fields.action === "eject");
  assert.ok(ejections.length >= 10 && ejections.length < 30, `${ejections.length} ejections in an hour`);
});

function diskPhases(setting: AgentSetting): Readonly<Record<string, string>> {
  return Object.fromEntries(setting.agent.status.disks.map(({ id, phase }) => [id, phase]));
}
