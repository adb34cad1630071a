import { causeText } from "../../oci/oci-error.ts";
import type { FetchProgress, ImageChange } from "../../runtime/image-keeper.ts";
import type { Condition } from "../../runtime/runtime.ts";
import type { Configuration, ConfigurationEvent } from "../config/configuration.ts";
import { type Action, describeAction } from "../decide/action.ts";
import { failureDelayMs } from "../decide/back-off.ts";
import { decide } from "../decide/decide.ts";
import { emptyMemory, type Memory, notice } from "../decide/memory.ts";
import type { World } from "../decide/world.ts";
import { ChangeSignal } from "../disks/change-signal.ts";
import { errorFields } from "../log-line.ts";
import type { AgentStatus } from "../status.ts";
import { perform } from "./acting.ts";
import { Admission } from "./admission.ts";
import { Alarm } from "./alarm.ts";
import { disksAtRest, hasUnaskedDisk, type Seen } from "./disks-at-rest.ts";
import { follow } from "./follow.ts";
import { GateKeeper } from "./gate-keeper.ts";
import { Looker, type Sight } from "./look.ts";
import { makeWorld } from "./make-world.ts";
import { afterDecision, afterFailure, afterStart, afterSuccess, forgetFailures } from "./memories.ts";
import type { AgentParts } from "./parts.ts";
import { failedPass, PassGuard } from "./pass-guard.ts";
import { PhaseLog } from "./phase-log.ts";
import { reportStatus } from "./report.ts";
import { Runner } from "./runner.ts";
import { Unsettled } from "./unsettled.ts";

/** After the last event of an image, until it is looked at: who deletes removes several records. */
const settleMs = 100;
const comparisonMs = 300_000;
/** Between two passes, so that many small ends are one. */
const passGapMs = 20;
/** Tries of each thing before `once` gives it up. */
const triesOnce = 3;
/** A look at the node takes a second at most; one that takes so long waits for something that never answers. */
const stuckMs = 120_000;

const fetchedByRuntime: Condition = {
  type: "FetchedByRuntime",
  message:
    "the runtime pulls images itself: layers that a disk has are not reused, pulls that break off begin anew, and limits.bandwidth does not apply",
};

/** Looks, decides, acts, and again whenever anything happens or time is up. */
export class Loop {
  /** Told after each pass. */
  readonly changed = new ChangeSignal();
  readonly #parts: AgentParts;
  readonly #alarm: Alarm;
  readonly #looker: Looker;
  readonly #admission: Admission;
  readonly #runner: Runner;
  readonly #unsettled = new Unsettled();
  readonly #progress = new Map<string, FetchProgress>();
  readonly #phaseLog: PhaseLog;
  #memory: Memory;
  #configuration: Configuration | undefined;
  #problem: Condition | undefined;
  #runtimeTrouble: Condition | undefined;
  #isSubscribed = false;
  /** Until events arrive again, whatever else works. */
  #eventTrouble: Condition | undefined;
  #lookFailures = 0;
  readonly #guard: PassGuard;
  #passBeganMs: number | undefined;
  #compareAtMs = Number.NEGATIVE_INFINITY;
  readonly #gate: GateKeeper;
  #seen: Seen | undefined;

  constructor(parts: AgentParts) {
    const { clock, space, pressure, keeper, log } = parts;
    this.#parts = parts;
    this.#phaseLog = new PhaseLog(log);
    this.#guard = new PassGuard(clock, log);
    this.#alarm = new Alarm(clock);
    this.#looker = new Looker(parts);
    this.#memory = emptyMemory(clock.nowMs());
    this.#gate = new GateKeeper(clock.nowMs());
    this.#admission = new Admission({
      clock,
      space,
      pressure,
      folders: () => keeper.folders,
      isGateOpen: () => this.#gate.status.isReady,
    });
    this.#runner = new Runner({
      run: (action, signal) => this.#act(action, signal),
      onEnd: () => this.#alarm.ringAt(clock.nowMs() + passGapMs),
    });
  }

  /** As it was last seen; `undefined` before that. */
  get world(): World | undefined {
    return this.#seen?.world;
  }

  get status(): AgentStatus {
    const { runtime, keeper, resolver, state, clock } = this.#parts;
    const ofRuntime = this.#runtimeTrouble ?? this.#eventTrouble;
    const troubles = [this.#problem, ofRuntime, this.#guard.trouble, this.#stuck()].filter(
      (each) => each !== undefined,
    );
    const ofRegistries = resolver.problems.map((message): Condition => ({ type: "RegistryAccess", message }));
    const notes = keeper.fetchedBy === "runtime" ? [fetchedByRuntime] : [];
    const conditions = [...troubles, ...state.conditions, ...ofRegistries, ...notes];
    const shared = { runtime: runtime.name, gate: this.#gate.status, conditions };
    if (this.#seen === undefined) return { ...shared, images: [], disks: [], sets: [] };
    const facts = { progress: this.#progress, phases: this.#phaseLog.phases };
    const times = { nowMs: clock.nowMs(), wallSeconds: clock.wallSeconds() };
    try {
      return reportStatus({ ...shared, ...this.#seen, ...facts, ...times });
    } catch (error) {
      // Who asks is to be told that, too.
      return { ...shared, conditions: [...conditions, failedPass(error)], images: [], disks: [], sets: [] };
    }
  }

  async run(signal: AbortSignal, once: boolean): Promise<AgentStatus> {
    const stop = new AbortController();
    const ending = AbortSignal.any([signal, stop.signal]);
    const { configuration, keeper, disks } = this.#parts;
    // Subscribed first, then looked: what happens between is told.
    const watches = [
      this.#follow(
        () => configuration.changes({ signal: ending }),
        (event) => this.#onConfiguration(event),
        ending,
      ),
      this.#follow(
        () => keeper.changes({ signal: ending }),
        (change) => this.#onImageChange(change),
        ending,
      ),
      this.#follow(
        () => disks.changes({ signal: ending }),
        () => this.#onDiskChange(),
        ending,
      ),
    ];
    try {
      while (!signal.aborted) {
        await this.#alarm.wait(signal);
        if (signal.aborted) break;
        this.#passBeganMs = this.#parts.clock.nowMs();
        await this.#tryPass(ending);
        this.#passBeganMs = undefined;
        if (once && this.#isSettled()) break;
      }
      return this.status;
    } finally {
      stop.abort(new Error("the agent ends"));
      await this.#runner.stop(stop.signal.reason);
      await Promise.all(watches);
      this.#alarm.stop();
    }
  }

  /** What is waited for may be a file system or a device that hangs: then nothing is decided any more. */
  #stuck(): Condition | undefined {
    const ms = this.#passBeganMs === undefined ? 0 : this.#parts.clock.nowMs() - this.#passBeganMs;
    if (ms < stuckMs) return undefined;
    const message = `a look at the node has gone on for ${Math.round(ms / 1000)} s: a file system or device may hang`;
    return { type: "LoopStuck", message };
  }

  /** Does what a person wishes with a disk, while nothing else is done with it. */
  async byHand<Result>(disk: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await this.#runner.take(`disk ${disk}`, work);
    } finally {
      this.#onDiskChange();
    }
  }

  /** Nothing that was found out about a disk counts any more. */
  retryDisk(id: string): void {
    const skipped = [...this.#memory.skipped].filter((each) => !each.startsWith(`${id} `));
    this.#memory = forgetFailures({ ...this.#memory, skipped: new Set(skipped) }, (key) => key === `disk ${id}`);
  }

  /** What goes wrong in one pass ends neither the agent nor what it does: all is looked at anew. */
  async #tryPass(signal: AbortSignal): Promise<void> {
    const { nextAtMs } = this.#guard;
    if (this.#parts.clock.nowMs() < nextAtMs) {
      this.#alarm.ringAt(nextAtMs);
      return;
    }
    try {
      await this.#pass(signal);
    } catch (error) {
      if (!signal.aborted) this.#onPassFailure(error);
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#parts;
    const configuration = this.#configuration;
    if (configuration === undefined) {
      this.#alarm.ringAt(this.#judgeGate());
      this.changed.tell();
      return;
    }
    if (!this.#isSubscribed) return;
    if (clock.nowMs() >= this.#compareAtMs) {
      this.#looker.distrust();
      this.#compareAtMs = clock.nowMs() + comparisonMs * (0.9 + 0.2 * random());
    }
    this.#runner.clearEnded();
    let sight: Sight;
    try {
      sight = await this.#looker.look(signal, disksAtRest(this.#seen, this.#runner.keys));
    } catch (error) {
      if (!signal.aborted) this.#onLookFailure(error);
      return;
    }
    this.#lookFailures = 0;
    this.#runtimeTrouble = undefined;
    const seen = makeWorld(sight, {
      configuration,
      record: this.#parts.state.record,
      memory: this.#memory,
      nowMs: clock.nowMs(),
      running: this.#runner.keys,
      unsettled: this.#unsettled.at(clock.nowMs()),
    });
    const before = this.#memory;
    this.#memory = notice(seen);
    const world: World = { ...seen, memory: this.#memory };
    const decision = decide(world);
    this.#seen = { world, decision };
    this.#memory = afterDecision(this.#memory, decision.wished);
    this.#admission.configure(world.policy, world.sets);
    this.#runner.follow(decision.actions);
    this.#phaseLog.note(before, world, decision);
    const gateMs = this.#judgeGate();
    // Who holds a disk is asked when it is known that nothing is to be done with it.
    const unaskedMs = hasUnaskedDisk(this.#seen, this.#runner.keys) ? clock.nowMs() : Number.POSITIVE_INFINITY;
    const nextMs = Math.min(decision.nextAtMs, gateMs, this.#compareAtMs, unaskedMs, ...world.unsettled.values());
    this.#alarm.ringAt(Math.max(nextMs, clock.nowMs() + passGapMs));
    this.#guard.succeeded();
    this.changed.tell();
  }

  async #act(action: Action, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#parts;
    const key = action.type === "fetch" ? action.digest : "";
    const onProgress = (progress: FetchProgress) => void this.#progress.set(key, progress);
    const beganMs = clock.nowMs();
    try {
      this.#memory = afterStart(this.#memory, action, clock.nowMs());
      const outcome = await perform(action, this.#parts, { signal, admission: this.#admission, onProgress });
      this.#memory = afterSuccess(this.#memory, action, outcome, clock.nowMs(), random());
      const seconds = Math.round(clock.nowMs() - beganMs) / 1000;
      // Of what is done by the clock only failures are worth a line.
      if (action.type !== "tidy") log({ event: "action-done", fields: { ...describeAction(action), seconds } });
    } catch (error) {
      if (signal.aborted) return;
      this.#memory = afterFailure(this.#memory, action, error, clock.nowMs());
      log({ event: "action-failed", fields: { ...describeAction(action), ...errorFields(error) } });
    } finally {
      this.#progress.delete(key);
      if (["inject", "chains", "eject", "cut-off", "release"].includes(action.type)) this.#looker.distrust();
    }
  }

  #onConfiguration(event: ConfigurationEvent): void {
    if (event.type === "problem") {
      this.#problem = { type: "ConfigurationInvalid", message: event.message };
      this.#parts.log({ event: "configuration-invalid", fields: { error: event.message } });
    } else {
      this.#problem = undefined;
      this.#configuration = event.configuration;
      this.#parts.onConfiguration?.(event.configuration);
      this.#memory = forgetFailures(this.#memory, () => true);
      this.#guard.retry();
    }
    this.#wake();
  }

  #onImageChange(change: ImageChange): void {
    const nowMs = this.#parts.clock.nowMs();
    if (change.type === "changed") {
      if (change.name === undefined) this.#looker.distrust();
      else this.#unsettled.note(change.name, nowMs + settleMs);
      this.#alarm.ringAt(nowMs + settleMs);
      return;
    }
    this.#isSubscribed = true;
    this.#looker.distrust();
    if (change.type === "lost") {
      this.#eventTrouble = { type: "RuntimeUnavailable", message: change.message };
      this.#parts.log({ event: "events-lost", fields: { error: change.message } });
    } else {
      this.#memory = forgetFailures(this.#memory, (_, code) => code === "unavailable");
      if (this.#eventTrouble !== undefined) this.#parts.log({ event: "events-back", fields: {} });
      this.#eventTrouble = undefined;
    }
    this.#wake();
  }

  #onDiskChange(): void {
    this.#looker.distrust();
    this.#memory = forgetFailures(this.#memory, (key) => key.startsWith("disk "));
    this.#wake();
  }

  #onLookFailure(error: unknown): void {
    this.#lookFailures += 1;
    this.#looker.distrust();
    const message = `${this.#parts.runtime.name} cannot be asked: ${causeText(error)}`;
    if (this.#runtimeTrouble?.message !== message)
      this.#parts.log({ event: "runtime-unavailable", fields: errorFields(error) });
    this.#runtimeTrouble = { type: "RuntimeUnavailable", message };
    this.#judgeGate();
    this.#alarm.ringAt(this.#parts.clock.nowMs() + Math.min(failureDelayMs(this.#lookFailures), 30_000));
    this.changed.tell();
  }

  #onPassFailure(error: unknown): void {
    this.#guard.failed(error);
    this.#looker.distrust();
    try {
      // Its time may be up.
      this.#judgeGate();
    } catch (other) {
      this.#parts.log({ event: "pass-failed", fields: errorFields(other) });
    }
    this.#alarm.ringAt(this.#guard.nextAtMs);
    this.changed.tell();
  }

  #follow<Item>(start: () => AsyncIterable<Item>, onItem: (item: Item) => void, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    const onBreak = (error: unknown) => log({ event: "watch-broken", fields: errorFields(error) });
    const onRestart = () => {
      this.#looker.distrust();
      this.#wake();
    };
    return follow(start, { onItem, onBreak, onRestart, clock, signal });
  }

  #wake(): void {
    this.#alarm.ringAt(this.#parts.clock.nowMs());
  }

  /** When to judge again though nothing happens. */
  #judgeGate(): number {
    const wasReady = this.#gate.status.isReady;
    const nowMs = this.#parts.clock.nowMs();
    const nextAtMs = this.#gate.judge({ configuration: this.#configuration, seen: this.#seen, nowMs });
    const { isReady, reason } = this.#gate.status;
    if (isReady && !wasReady) this.#parts.log({ event: "ready", fields: { reason } });
    return nextAtMs;
  }

  /** Nothing runs, nothing is to be started, and what failed has had its tries. */
  #isSettled(): boolean {
    const seen = this.#seen;
    // Without a usable configuration, or without the runtime, there is nothing to wait for.
    if (this.#configuration === undefined) return this.#problem !== undefined;
    if (this.#lookFailures >= triesOnce || this.#guard.failures >= triesOnce) return true;
    if (seen === undefined || !this.#runner.isIdle || seen.decision.actions.length > 0) return false;
    // What ended during the look may be missing from it.
    if (seen.world.running.size > 0 || hasUnaskedDisk(this.#seen, this.#runner.keys)) return false;
    const isChecking = seen.decision.disks.some(({ phase }) => phase === "Checking");
    const { nowMs, unsettled } = seen.world;
    const retries = [...this.#memory.failures.values()].filter(
      ({ untilMs, count }) => untilMs > nowMs && count < triesOnce,
    );
    return !isChecking && unsettled.size === 0 && retries.length === 0;
  }
}
