import type { EjectOptions, EjectReport, InjectOptions, InjectReport } from "../../runtime/runtime.ts";
import { isRuntimeError } from "../../runtime/runtime-error.ts";
import { keptTags } from "../decide/injections.ts";
import { viewOf } from "../decide/world.ts";
import { diskIdentity } from "../disks/disk-identity.ts";
import type { AgentRecord } from "../state/agent-state.ts";
import type { AgentStatus } from "../status.ts";
import { openDisk } from "./acting.ts";
import { Loop } from "./loop.ts";
import type { AgentParts } from "./parts.ts";

export type RunOptions = {
  readonly signal: AbortSignal;
  /** Ends as soon as everything is warm, or nothing more can be done now. */
  readonly once?: boolean;
};

/** Keeps one runtime warm, and does what a person asks for meanwhile. */
export class Agent {
  readonly #parts: AgentParts;
  readonly #loop: Loop;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#loop = new Loop(parts);
  }

  /** As of the last look at the node. */
  get status(): AgentStatus {
    return this.#loop.status;
  }

  /** One item whenever `status` may have changed. Ends without an error when `signal` aborts. */
  changes({ signal }: { readonly signal: AbortSignal }): AsyncIterable<void> {
    return this.#loop.changed.read(signal);
  }

  /** Runs until `signal` aborts, or with `once` until there is nothing to do. The state at its end. To be called once. */
  run({ signal, once = false }: RunOptions): Promise<AgentStatus> {
    return this.#loop.run(signal, once);
  }

  /**
   * Injects a disk that a person names, ends a hold on it, and keeps it injected, wherever it is. Tags that are to stand for something else
   * stay. Throws what opening and `Runtime.inject` throw.
   */
  async injectByHand(path: string, options: Omit<InjectOptions, "keepTags">): Promise<InjectReport> {
    const open = await openDisk(this.#parts, path);
    try {
      const { id } = open.disk;
      const world = this.#loop.world;
      const present = await this.#parts.disks.find({ signal: options.signal });
      const isFound = present.some((found) => found.path === path && found.state === "trusted");
      // One in a place of ours is kept without this, until a newer one replaces it, where all of it is wanted.
      const isKept = isFound && world?.policy.inject !== "Listed";
      const { holds, byHand } = this.#parts.state.record;
      await this.#parts.state.change((record) => ({
        ...record,
        holds: record.holds.filter((held) => held !== id),
        byHand: isKept ? record.byHand : { ...record.byHand, [id]: givenByHand(record, id, path, options.images) },
      }));
      this.#loop.retryDisk(id);
      const keepTags = world === undefined ? [] : keptTags(viewOf(world), diskIdentity(open.disk.index));
      try {
        return await this.#loop.byHand(id, () => this.#parts.runtime.inject(open, { ...options, keepTags }));
      } catch (error) {
        // What was refused is not wished for any more; what was broken off is, and is completed.
        if (!options.signal.aborted)
          await this.#parts.state.change((record) => ({
            ...record,
            holds: holds.includes(id) ? [...record.holds, id] : record.holds,
            byHand: withEntry(record.byHand, id, byHand[id]),
          }));
        throw error;
      }
    } finally {
      await open.disk.close();
    }
  }

  /**
   * Ejects a disk, and holds it from then on: it is not injected again until a person does. Throws what `Runtime.eject` throws; when it
   * refuses because of users, there is no hold.
   */
  async ejectByHand(id: string, options: Omit<EjectOptions, "disks">): Promise<EjectReport> {
    const { state, runtime } = this.#parts;
    const { holds, byHand } = state.record;
    await state.change((record) => withHold(record, id));
    try {
      return await this.#loop.byHand(id, () => runtime.eject({ ...options, disks: [id] }));
    } catch (error) {
      const given = byHand[id];
      if (isRuntimeError(error, "failed-precondition") && !holds.includes(id))
        await state.change((record) => ({
          ...record,
          holds: record.holds.filter((held) => held !== id),
          byHand: withEntry(record.byHand, id, given),
        }));
      throw error;
    }
  }
}

function withEntry<Value>(
  record: Readonly<Record<string, Value>>,
  key: string,
  value: Value | undefined,
): Readonly<Record<string, Value>> {
  const others = Object.fromEntries(Object.entries(record).filter(([each]) => each !== key));
  return value === undefined ? others : { ...others, [key]: value };
}

/** Adds what a person injects of a disk to what was injected of it before. */
function givenByHand(
  { byHand }: AgentRecord,
  id: string,
  path: string,
  images: readonly string[] | undefined,
): AgentRecord["byHand"][string] {
  const before = Object.hasOwn(byHand, id) ? byHand[id] : undefined;
  const isWhole = images === undefined || (before !== undefined && before.images === undefined);
  return isWhole ? { path } : { path, images: [...new Set([...(before?.images ?? []), ...images])] };
}

function withHold(record: AgentRecord, id: string): AgentRecord {
  return { ...record, holds: [...new Set([...record.holds, id])], byHand: withEntry(record.byHand, id, undefined) };
}
