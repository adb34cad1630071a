import { Semaphore } from "../../oci/registry/semaphore.ts";
import type { FetchProgress, ImageFolders } from "../../runtime/image-keeper.ts";
import { AgentError } from "../agent-error.ts";
import type { NodeSet } from "../desired/listed-images.ts";
import type { Policy } from "../desired/policy.ts";
import type { PressureGauge } from "../space/pressure-gauge.ts";
import { type SpaceGauge, type SpaceUse, usedPercent } from "../space/space-gauge.ts";
import { type Clock, pause } from "./clock.ts";
import { RateLimit } from "./rate-limit.ts";

/** Bytes that a layer takes unpacked for each byte that is fetched: three is much for images that are not mostly text. */
const unpackedShare = 3;
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
  readonly #remaining = new Map<FetchTicket, number>();
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

  /** How far a fetch is: what remains is counted on by all of them. */
  note(ticket: FetchTicket, { totalBytes, presentBytes, fetchedBytes }: FetchProgress): void {
    this.#remaining.set(ticket, Math.max(0, totalBytes - presentBytes - fetchedBytes));
  }

  end(ticket: FetchTicket): void {
    this.#remaining.delete(ticket);
  }

  /** Throws `AgentError` `no-space` when what remains of all fetches would fill a file system above the mark. */
  async checkSpace(): Promise<void> {
    const { space } = await this.#measure();
    const highWater = this.#policy?.highWater ?? 100;
    const blobs = [...this.#remaining.values()].reduce((sum, bytes) => sum + bytes, 0);
    const isOne = space.every((use) => use.totalBytes === space[0]?.totalBytes && use.freeBytes === space[0].freeBytes);
    const needed = [blobs, blobs * unpackedShare].map((bytes) => (isOne ? blobs * (1 + unpackedShare) : bytes));
    for (const [i, use] of space.entries()) {
      const percent = usedPercent(use, needed[i]);
      if (percent < highWater) continue;
      throw new AgentError(
        "no-space",
        `the file system of ${use.folder} would be ${percent.toFixed(0)} % full, and nothing is fetched from ${highWater} % on; make room, or raise limits.highWater`,
      );
    }
  }

  /** Resolves when so many bytes may be fetched. Throws as `checkSpace`, and the reason of the signal. */
  async admit(bytes: number, ticket: FetchTicket): Promise<void> {
    const { sets, isGated, signal } = ticket;
    for (;;) {
      await this.checkSpace();
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

  /** Resolves when a layer may be unpacked; what it gives is to be called when that is over. Throws the reason of the signal. */
  async admitUnpack(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    return this.#parts.isGateOpen() ? this.#unpacks.acquire(signal) : () => {};
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
