import { Semaphore } from "../../oci/registry/semaphore.ts";
import type { FetchProgress, ImageFolders } from "../../runtime/image-keeper.ts";
import { AgentError } from "../agent-error.ts";
import type { NodeSet } from "../desired/listed-images.ts";
import type { Policy } from "../desired/policy.ts";
import { fetchNeeds } from "../space/fetch-estimate.ts";
import type { PressureGauge } from "../space/pressure-gauge.ts";
import { type SpaceGauge, type SpaceUse, usedPercent } from "../space/space-gauge.ts";
import { type Clock, pause } from "./clock.ts";
import { RateLimit } from "./rate-limit.ts";

const lookAgainMs = 1000;
/** Layers unpacked at once of all images, once workloads have come; before that as many as the fetches themselves have places for. */
const unpacksAfterGate = 2;

export type AdmissionParts = {
  readonly clock: Clock;
  readonly space: SpaceGauge;
  readonly pressure: PressureGauge;
  /** Of the runtime as it is now: it may be another one, with another root, after it was started again. */
  readonly folders: () => ImageFolders;
  /** Whether workloads have come, which are not to be slowed down. */
  readonly isGateOpen: () => boolean;
};

export type FetchTicket = { readonly sets: readonly string[]; readonly isGated: boolean; readonly signal: AbortSignal };

/** Decides over each piece of all fetches: whether there is space for what is still to come, and when its turn is. */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #node: RateLimit;
  readonly #sets = new Map<string, RateLimit>();
  readonly #unpacks = new Semaphore(unpacksAfterGate);
  /** In the order in which they began. */
  readonly #fetches = new Map<FetchTicket, FetchProgress>();
  #policy: Policy | undefined;
  #setsNow: readonly NodeSet[] = [];
  #measured: { readonly atMs: number; readonly space: readonly SpaceUse[]; readonly pressure: string } | undefined;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#node = new RateLimit(parts.clock);
  }

  /** What holds from now on, also for what is being fetched. */
  configure(policy: Policy, sets: readonly NodeSet[]): void {
    this.#policy = policy;
    this.#setsNow = sets;
    for (const name of this.#sets.keys()) if (!sets.some((set) => set.name === name)) this.#sets.delete(name);
  }

  /** How far a fetch is: what it still needs counts for those that come after it. */
  note(ticket: FetchTicket, progress: FetchProgress): void {
    this.#fetches.set(ticket, progress);
  }

  end(ticket: FetchTicket): void {
    this.#fetches.delete(ticket);
  }

  /**
   * Throws `AgentError` `no-space` when what is still to come would fill a file system above the mark: of this fetch, and of all that come before
   * it, which are those of gated images and then those that began earlier. So of several that do not fit together the most urgent one goes on.
   */
  async checkSpace(ticket: FetchTicket): Promise<void> {
    const { space } = await this.#measure();
    const highWater = this.#policy?.highWater ?? 100;
    const needs = fetchNeeds(this.#upTo(ticket), space);
    for (const [i, use] of space.entries()) {
      const percent = usedPercent(use, needs[i]);
      if (percent < highWater) continue;
      throw new AgentError(
        "no-space",
        `the file system of ${use.folder} would be ${percent.toFixed(0)} % full (bytes or inodes) with what is still to be fetched and unpacked, and nothing is fetched from ${highWater} % on; make room, or raise limits.highWater`,
      );
    }
  }

  #upTo(ticket: FetchTicket): readonly FetchProgress[] {
    const tickets = [...this.#fetches.keys()].sort((a, b) => Number(b.isGated) - Number(a.isGated));
    return tickets.slice(0, tickets.indexOf(ticket) + 1).flatMap((each) => this.#fetches.get(each) ?? []);
  }

  /** Resolves when so many bytes may be fetched. Throws as `checkSpace`, and the reason of the signal. */
  async admit(bytes: number, ticket: FetchTicket): Promise<void> {
    const { sets, isGated, signal } = ticket;
    for (;;) {
      await this.checkSpace(ticket);
      signal.throwIfAborted();
      if (isGated || (await this.#measure()).pressure === "") break;
      await pause(this.#parts.clock, lookAgainMs, signal);
    }
    for (const name of sets) {
      const limit = this.#sets.get(name) ?? new RateLimit(this.#parts.clock);
      this.#sets.set(name, limit);
      await limit.pass(bytes, this.#setsNow.find((set) => set.name === name)?.bytesPerSecond, signal);
    }
    await this.#node.pass(bytes, this.#policy?.bytesPerSecond, signal);
  }

  /** Resolves when a layer may be unpacked; what it gives is to be called when that is over. Throws as `checkSpace`, and the reason of the signal. */
  async admitUnpack(ticket: FetchTicket, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const leave = this.#parts.isGateOpen() ? await this.#unpacks.acquire(signal) : () => {};
    try {
      await this.checkSpace(ticket);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /** Once a second for all. */
  async #measure(): Promise<{ readonly space: readonly SpaceUse[]; readonly pressure: string }> {
    const { clock, space, pressure, folders } = this.#parts;
    const last = this.#measured;
    if (last !== undefined && clock.nowMs() - last.atMs < lookAgainMs) return last;
    const { blobs, snapshots } = folders();
    const [uses, trouble] = await Promise.all([space.measure([blobs, snapshots]), pressure.measure()]);
    this.#measured = { atMs: clock.nowMs(), space: uses, pressure: trouble };
    return this.#measured;
  }
}
