import type { Condition } from "../../runtime/runtime.ts";
import type { ImagePhase } from "../status.ts";
import { type Action, keyOf } from "./action.ts";
import { vainUntilMs } from "./back-off.ts";
import type { Failure } from "./memory.ts";
import type { View } from "./world.ts";

/** What is to be said of one image. */
export type ImageVerdict = {
  readonly phase: ImagePhase;
  readonly reason: string;
  readonly conditions: readonly Condition[];
};

/** Collects actions, and when to decide again though nothing happens. */
export class Plan {
  readonly actions: Action[] = [];
  /** Keys of all actions that were wished for, also of those that wait. */
  readonly wished = new Set<string>();
  readonly #view: View;
  #nextAtMs = Number.POSITIVE_INFINITY;

  constructor(view: View) {
    this.#view = view;
  }

  get nextAtMs(): number {
    return this.#nextAtMs;
  }

  /** Something changes by itself at that time. */
  wakeAt(atMs: number): void {
    this.#nextAtMs = Math.min(this.#nextAtMs, atMs);
  }

  /**
   * Wishes for an action. `runs`: it is wanted and not in a back-off; the loop starts it unless it runs already. `fails`: it failed, and is
   * tried again later.
   */
  add(action: Action): { readonly state: "runs" } | { readonly state: "fails"; readonly failure: Failure } {
    this.wished.add(keyOf(action));
    const failure = this.failureOf(action) ?? this.#repetitionOf(action);
    if (failure !== undefined) return { state: "fails", failure };
    this.actions.push(action);
    return { state: "runs" };
  }

  /** What is done and wished for again has changed nothing. Of what makes images warm each image is told by itself. */
  #repetitionOf(action: Action): Failure | undefined {
    const key = keyOf(action);
    const { memory, running, nowMs } = this.#view;
    const untilMs = "names" in action && action.names.length > 0 ? 0 : vainUntilMs(memory.repeats, key);
    if (untilMs <= nowMs || running.has(key)) return undefined;
    this.wakeAt(untilMs);
    const count = memory.repeats.get(key)?.count ?? 0;
    return { count, untilMs, message: `${action.type}: done, and it changed nothing`, code: "unknown" };
  }

  /** The failure that an action waits for to be tried again. */
  failureOf(action: Action): Failure | undefined {
    const key = keyOf(action);
    const failure = this.#view.memory.failures.get(key);
    if (failure === undefined || failure.untilMs <= this.#view.nowMs || this.#view.running.has(key)) return undefined;
    this.wakeAt(failure.untilMs);
    return failure;
  }
}

export function verdict(phase: ImagePhase, reason = "", conditions: readonly Condition[] = []): ImageVerdict {
  return { phase, reason, conditions };
}
