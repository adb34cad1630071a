import { setImmediate as nextTurn } from "node:timers/promises";
import { type AgentSpec, agentConfigSchema } from "../../../src/agent/config/agent-config.ts";
import { MemoryConfiguration } from "../../../src/agent/config/memory-configuration.ts";
import type { DiskIdentity, FoundDisk } from "../../../src/agent/disks/disk-finder.ts";
import { MemoryDiskFinder } from "../../../src/agent/disks/memory-disk-finder.ts";
import { MemoryDiskHolders } from "../../../src/agent/disks/memory-disk-holders.ts";
import type { LogLine } from "../../../src/agent/log-line.ts";
import { Agent } from "../../../src/agent/loop/agent.ts";
import { ManualClock } from "../../../src/agent/loop/manual-clock.ts";
import type { AgentParts } from "../../../src/agent/loop/parts.ts";
import { MemoryImageResolver } from "../../../src/agent/refresh/memory-image-resolver.ts";
import { MemorySpaceGauge } from "../../../src/agent/space/memory-space-gauge.ts";
import { type AgentState, emptyRecord } from "../../../src/agent/state/agent-state.ts";
import { MemoryState } from "../../../src/agent/state/memory-state.ts";
import type { AgentStatus, ImageStatus } from "../../../src/agent/status.ts";
import { apiVersion } from "../../../src/kubernetes/fields.ts";
import type { ImageSet } from "../../../src/kubernetes/image-set.ts";
import { parseReference } from "../../../src/oci/reference.ts";
import { type MemoryNode, makeMemoryNode } from "../../../src/runtime/memory-image-keeper.ts";
import { foundDisk } from "./facts.ts";
import { openMemoryDisk, testImage } from "./memory-images.ts";

type SpecInput = Parameters<typeof agentConfigSchema.parse>[0];

/** An agent over twins of all that it is made of, on a clock that stands. */
export class AgentSetting {
  readonly node: MemoryNode = makeMemoryNode();
  readonly disks = new MemoryDiskFinder();
  readonly holders = new MemoryDiskHolders();
  readonly registry = new MemoryImageResolver();
  readonly space = new MemorySpaceGauge();
  readonly clock = new ManualClock();
  readonly configuration = new MemoryConfiguration();
  readonly log: LogLine[] = [];
  /** How long calls of the runtime and the registry take. */
  latencyMs = 0;
  /** Why fetching is to wait. */
  pressure = "";
  state = new MemoryState();
  readonly #shared: AgentState | undefined;
  agent: Agent;
  #stop = new AbortController();
  #ended: Promise<AgentStatus> | undefined;
  readonly #words = new Set<string>();

  /** `shared`: what agents of several runtimes have together, in place of a state of its own. */
  constructor(shared?: AgentState) {
    this.#shared = shared;
    this.agent = new Agent(this.parts());
  }

  parts(): AgentParts {
    const { node, disks, holders, registry, space, clock, configuration, state } = this;
    return {
      configuration,
      runtime: this.#slow(node.runtime, ["inject", "eject", "status"]),
      keeper: this.#slow(node.images, ["observe", "fetch", "setName", "release", "cutOff"]),
      disks,
      openByHand: async (path) => {
        throw new Error(`nothing at ${path}`);
      },
      holders,
      resolver: this.#slow(registry, ["resolveTag", "openImage"]),
      state: this.#shared ?? state,
      space,
      pressure: { measure: async () => this.pressure },
      clock,
      random: () => 0.5,
      log: (line) => this.log.push(line),
    };
  }

  /** Tells the agent what to wish. */
  wish(sets: readonly ImageSet[], spec: SpecInput = {}): void {
    const agent: AgentSpec = agentConfigSchema.parse({
      apiVersion,
      kind: "AgentConfig",
      metadata: { name: "node" },
      spec,
    }).spec;
    this.configuration.tell({ type: "configuration", configuration: { sets, agent } });
  }

  /** The registry has the image of a word, and a tag stands for it. */
  publish(name: string, word: string): void {
    this.#words.add(word);
    const reference = parseReference(name);
    const image = testImage(word);
    this.registry.addImage(reference, image);
    if (reference.tag !== undefined) this.registry.setTag(reference, image.target.digest);
  }

  /** A disk comes; `words`: all images that disks of this test have. */
  putDisk(identity: DiskIdentity, words: readonly string[], overrides: Partial<FoundDisk> = {}): FoundDisk {
    for (const word of words) this.#words.add(word);
    const found = foundDisk(identity, overrides);
    this.disks.put(found, async () => openMemoryDisk(identity, found.path, [...this.#words]));
    return found;
  }

  /** Begins to run. */
  async start(once = false): Promise<void> {
    this.#ended = this.agent.run({ signal: this.#stop.signal, once });
    await this.settle();
  }

  /** Ends the agent; the state at its end. */
  async stop(): Promise<AgentStatus | undefined> {
    this.#stop.abort(new Error("the test ends it"));
    return this.#ended && this.whileTimePasses(this.#ended);
  }

  /** Lets time pass until something is done. */
  async whileTimePasses<Result>(work: Promise<Result>): Promise<Result> {
    let isDone = false;
    const end = () => {
      isDone = true;
    };
    work.then(end, end);
    for (await this.settle(); !isDone; ) await this.advance(100);
    return work;
  }

  /** Another agent takes over, which knows what is in the state. */
  async restart(keepsState = true, once = false): Promise<void> {
    await this.stop();
    this.state = new MemoryState(keepsState ? this.state.durable : emptyRecord);
    this.#stop = new AbortController();
    this.agent = new Agent(this.parts());
    await this.start(once);
  }

  /** Lets all that can run without time run. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 12; turn++) await nextTurn();
  }

  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms, () => this.settle());
  }

  image(name: string): ImageStatus {
    const found = this.agent.status.images.find((image) => image.name === name);
    if (found === undefined) throw new Error(`${name} is not desired`);
    return found;
  }

  phases(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.agent.status.images.map(({ name, phase }) => [name, phase]));
  }

  /** The same, but methods take their time before they begin. */
  #slow<Part extends object>(part: Part, methods: readonly (keyof Part)[]): Part {
    return new Proxy(part, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        if (!methods.includes(key as keyof Part)) return value.bind(target);
        return async (...args: unknown[]) => {
          if (this.latencyMs > 0) await new Promise<void>((done) => void this.clock.after(this.latencyMs, done));
          return value.apply(target, args);
        };
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
