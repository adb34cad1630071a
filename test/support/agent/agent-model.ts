import assert from "node:assert/strict";
import type { DiskIdentity } from "../../../src/agent/disks/disk-finder.ts";
import { OciError } from "../../../src/oci/oci-error.ts";
import { parseReference } from "../../../src/oci/reference.ts";
import { memoryImage } from "../../../src/runtime/memory-image-keeper.ts";
import { RuntimeError } from "../../../src/runtime/runtime-error.ts";
import { AgentSetting } from "./agent-setting.ts";
import { diskIdentity, foundDisk, testDigest } from "./facts.ts";
import { imageSet } from "./image-set.ts";
import { testImage } from "./memory-images.ts";

export const names = ["docker.io/library/a:1", "docker.io/library/b:1", "ghcr.io/team/c:1"] as const;
export type Name = (typeof names)[number];

/** Of every name the last one is the same image. */
const commonVersion = 4;
export const versions = [1, 2, 3, commonVersion] as const;
export const words = [...new Set(names.flatMap((name) => versions.map((version) => wordOf(name, version))))];
const hosts = ["docker.io", "ghcr.io"];
const minute = 60_000;

/** Disks that may come and go: two of one line, and one of another. */
export const disks: readonly DiskIdentity[] = [
  diskIdentity("x", 1, { [names[0]]: digestOf(names[0], 1), [names[1]]: digestOf(names[1], 1) }),
  diskIdentity("x", 2, { [names[0]]: digestOf(names[0], 2), [names[2]]: digestOf(names[2], 2) }),
  diskIdentity("y", 1, { [names[1]]: digestOf(names[1], 3), [names[2]]: digestOf(names[2], commonVersion) }),
];

export type Wish = { readonly gate: boolean; readonly refresh: "Never" | "1m" | "10m"; readonly priority: number };

export function wordOf(name: Name, version: number): string {
  return version === commonVersion ? "common" : `${name} ${version}`;
}

export function digestOf(name: Name, version: number) {
  return testDigest(wordOf(name, version));
}

/** What was done to a node and its agent, and so what must be true in the end. */
export class AgentModel {
  readonly setting = new AgentSetting();
  readonly #lists = [new Map<Name, Wish>(), new Map<Name, Wish>()] as const;
  readonly #tags = new Map<Name, number>();
  /** Tags of which the registry lies. */
  readonly #lies = new Set<Name>();
  /** Indexes of disks that are in their place. */
  readonly #present = new Set<number>();
  readonly #held = new Set<string>();
  readonly #containers: string[] = [];
  /** Names that others set at some time: they are theirs. */
  readonly #pulled = new Set<string>();
  #isRunning = true;

  async begin(): Promise<void> {
    const { setting } = this;
    for (const name of names) {
      for (const version of versions) setting.publish(name, wordOf(name, version));
      this.moveTag(name, 1);
    }
    this.#tellWishes();
    await setting.start();
  }

  /** Two sets, which may disagree. */
  list(set: 0 | 1, name: Name, wish: Wish | undefined): void {
    if (wish === undefined) this.#lists[set].delete(name);
    else this.#lists[set].set(name, wish);
    this.#tellWishes();
  }

  moveTag(name: Name, version: number): void {
    this.#tags.set(name, version);
    this.#lies.delete(name);
    this.setting.publish(name, wordOf(name, version));
  }

  /** The registry says that the tag stands for something that it does not have. */
  lie(name: Name): void {
    this.#lies.add(name);
    this.setting.registry.setTag(parseReference(name), testDigest(`never ${name}`));
  }

  breakRegistry(host: number, isDown: boolean): void {
    const failure = new OciError("registry-unreachable", "the registry does not answer");
    this.setting.registry.fail(hosts[host] ?? "", isDown ? failure : undefined);
  }

  putDisk(index: number): void {
    const disk = disks[index] ?? assert.fail();
    this.#present.add(index);
    this.setting.putDisk(disk, words);
  }

  /** It is there, and may not be injected. */
  doubtDisk(index: number, state: "checking" | "refused" | "broken"): void {
    this.#present.delete(index);
    this.setting.putDisk(disks[index] ?? assert.fail(), words, { state, reason: `it is ${state}` });
  }

  /** `isYanked`: what was injected from it cannot be read any more. */
  takeDisk(index: number, isYanked: boolean): void {
    const disk = disks[index] ?? assert.fail();
    this.#present.delete(index);
    this.setting.disks.take(foundDisk(disk).path);
    if (isYanked) this.setting.node.others.setAway(disk.id, true);
  }

  async eject(index: number): Promise<void> {
    const disk = disks[index] ?? assert.fail();
    const signal = new AbortController().signal;
    const ejecting = this.setting.agent.ejectByHand(disk.id, { wait: false, materialize: false, signal });
    const isRefused = await this.setting.whileTimePasses(ejecting).then(
      () => false,
      (error) => error instanceof RuntimeError && error.code === "failed-precondition",
    );
    if (!isRefused) this.#held.add(disk.id);
  }

  async inject(index: number): Promise<void> {
    const disk = disks[index] ?? assert.fail();
    if (!this.#present.has(index) || !this.#isRunning) return;
    const signal = new AbortController().signal;
    const options = { handlers: "all", force: false, chains: true, signal } as const;
    await this.setting.whileTimePasses(this.setting.agent.injectByHand(foundDisk(disk).path, options));
    this.#held.delete(disk.id);
  }

  pull(name: Name, version: number): void {
    this.#pulled.add(name);
    this.setting.node.others.pull(name, memoryImage(testImage(wordOf(name, version))));
  }

  remove(name: Name): void {
    this.setting.node.others.removeImage(name);
  }

  removeName(name: Name): void {
    this.setting.node.others.removeName(name);
  }

  run(name: Name): void {
    try {
      this.#containers.push(this.setting.node.others.startContainer(name));
    } catch (error) {
      // Not there, or its disk is away: a start fails, and nothing wrong starts.
      assert.ok(error instanceof RuntimeError);
    }
  }

  endContainer(): void {
    const id = this.#containers.shift();
    if (id !== undefined) this.setting.node.others.removeContainer(id);
  }

  async restart(keepsState: boolean): Promise<void> {
    if (!keepsState) this.#held.clear();
    await this.setting.restart(keepsState);
  }

  /** The next look at the node shows what no runtime says, and the agent does not expect. */
  breakLook(): void {
    const { images } = this.setting.node;
    images.observe = async () => {
      Reflect.deleteProperty(images, "observe");
      const digest = testDigest("odd");
      // Of another type than it may be, so that a pass throws: the cast lets it.
      const content = { digest, isWarm: true, missing: "", users: undefined as never };
      return { images: [], contents: new Map([[digest, content]]) };
    };
  }

  stopRuntime(): void {
    this.#isRunning = false;
    this.setting.node.others.stop();
  }

  startRuntime(): void {
    this.#isRunning = true;
    this.setting.node.others.start();
  }

  /** Trouble ends; given time, all is as wished. */
  async checkInTheEnd(): Promise<void> {
    const { setting } = this;
    for (const host of hosts.keys()) this.breakRegistry(host, false);
    if (!this.#isRunning) this.startRuntime();
    setting.node.others.swallowEvents(false);
    setting.space.percent = 10;
    setting.space.inodePercent = 10;
    setting.pressure = "";
    setting.latencyMs = 50;
    for (const [index, disk] of disks.entries())
      if (!this.#present.has(index)) setting.disks.take(foundDisk(disk).path);
    while (this.#containers.length > 0) this.endContainer();
    // The agent knows what was changed at the very last.
    await setting.advance(minute);
    this.#endLies();
    await setting.advance(180 * minute);
    const { agent, node } = setting;
    const shown = JSON.stringify({ ...agent.status, log: setting.log.slice(-20) }, undefined, 1);
    for (const { name, phase, sets, reason } of agent.status.images) {
      // A name that nobody lists is left to those who pulled it, though a disk that their image stood on is gone.
      const isLeft = sets.length === 0 && this.#pulled.has(name) && /image that is not whole/.test(reason);
      if (!isLeft) assert.equal(phase, "Warm", `${name}: ${shown}`);
    }
    for (const name of names) this.#checkName(name, shown);
    const statuses = await node.runtime.status({ signal: new AbortController().signal });
    const injected = statuses.map(({ id }) => id);
    // By images of others, which nobody takes away from them.
    const kept = new Set(statuses.flatMap(({ id, heldBy }) => (heldBy.length > 0 ? [id] : [])));
    for (const [index, { id }] of disks.entries()) {
      if (this.#held.has(id) || !this.#present.has(index))
        assert.ok(!injected.includes(id) || kept.has(id), `disk ${index}: ${shown}`);
      else if (this.#newest().has(id)) assert.ok(injected.includes(id), `disk ${index}: ${shown}`);
    }
    if (this.#listedIsAny()) assert.equal(agent.status.gate.isReady, true);
    // It has come to rest.
    const lines = setting.log.length;
    await setting.advance(2 * minute);
    const lies = [...this.#lies].map((name) => testDigest(`never ${name}`));
    const later = setting.log.slice(lines).filter(({ fields }) => {
      if (!("action" in fields)) return true;
      const isOfLie = lies.some((digest) => "digest" in fields && fields.digest === digest);
      return fields.action !== "resolve" && !isOfLie;
    });
    assert.deepEqual(later, [], shown);
  }

  #checkName(name: Name, shown: string): void {
    const wishes = this.#lists.flatMap((list) => list.get(name) ?? []);
    const digest = this.setting.node.runtime.tag(name);
    const onDisk = [...this.#newest()].some((id) =>
      disks.find((disk) => disk.id === id)?.images.some(({ names: each }) => each.includes(name)),
    );
    if (this.#lies.has(name) && wishes.length > 0) {
      assert.ok(digest !== undefined && digest !== testDigest(`never ${name}`), `${name}: ${shown}`);
      if (!wishes.some(({ refresh }) => refresh !== "Never")) return;
      const types = this.setting.image(name).conditions.map(({ type }) => type);
      assert.ok(types.includes("DigestUnavailable"), `${name} does not show that: ${shown}`);
    } else if (wishes.some(({ refresh }) => refresh !== "Never"))
      assert.equal(digest, digestOf(name, this.#tags.get(name) ?? 0), `${name}: ${shown}`);
    else if (wishes.length > 0 || onDisk) assert.notEqual(digest, undefined, `${name}: ${shown}`);
    else if (!this.#pulled.has(name)) assert.equal(digest, undefined, `${name} stays: ${shown}`);
  }

  /** Disks that are present, free, and replaced by no other. */
  #newest(): ReadonlySet<string> {
    const free = [...this.#present].flatMap((index) => disks[index] ?? []).filter(({ id }) => !this.#held.has(id));
    const isReplaced = ({ line, sequence }: DiskIdentity) =>
      free.some((other) => other.line === line && other.sequence > sequence);
    return new Set(free.filter((disk) => !isReplaced(disk)).map(({ id }) => id));
  }

  /** One that lies for ever is a trouble as others are, but where the node has something to keep. */
  #endLies(): void {
    for (const name of [...this.#lies]) {
      const image = this.setting.agent.status.images.find((each) => each.name === name);
      const isListed = this.#lists.some((list) => list.has(name));
      if (isListed && (image?.digest === undefined || image.digest === testDigest(`never ${name}`)))
        this.moveTag(name, this.#tags.get(name) ?? 1);
    }
  }

  #listedIsAny(): boolean {
    return this.#lists.some((list) => list.size > 0);
  }

  #tellWishes(): void {
    this.setting.wish(
      this.#lists.map((list, index) =>
        imageSet(`set-${index}`, {
          images: [...list].map(([ref, { gate, priority, refresh }]) => ({
            ref,
            gate,
            priority,
            refresh: refresh === "Never" ? refresh : { interval: refresh },
          })),
        }),
      ),
      { disks: { folders: ["/disks"] } },
    );
  }
}
