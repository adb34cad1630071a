import { CodedError } from "../../oci/coded-error.ts";
import { causeText } from "../../oci/oci-error.ts";
import type { InjectReport } from "../../runtime/runtime.ts";
import { type Action, keyOf } from "../decide/action.ts";
import { failureDelayMs } from "../decide/back-off.ts";
import type { Memory } from "../decide/memory.ts";
import type { Outcome } from "./acting.ts";

/** The memory once an action has begun. */
export function afterStart(memory: Memory, action: Action, nowMs: number): Memory {
  if (action.type !== "release" || action.why !== "space") return memory;
  return { ...memory, lastEvictedMs: nowMs };
}

export function afterSuccess(memory: Memory, action: Action, outcome: Outcome, nowMs: number, random: number): Memory {
  const failures = new Map(memory.failures);
  const key = keyOf(action);
  failures.delete(key);
  const repeats = new Map([
    ...memory.repeats,
    [key, { count: (memory.repeats.get(key)?.count ?? 0) + 1, atMs: nowMs }],
  ]);
  const next = { ...memory, failures, repeats };
  switch (action.type) {
    case "resolve":
      // Spread, so that not all tags of all nodes are asked for at once.
      return {
        ...next,
        resolved:
          outcome.type === "resolved"
            ? new Map([
                ...memory.resolved,
                [action.name, { digest: outcome.digest, atMs: nowMs, share: 0.9 + 0.2 * random }],
              ])
            : memory.resolved,
      };
    case "inject":
      return outcome.type === "injected" ? afterInjection(next, action, outcome.report, nowMs) : next;
    case "fetch": {
      const conditions = outcome.type === "fetched" ? outcome.report.conditions : [];
      const notes = new Map([...memory.notes, ...action.names.map((name) => [name, conditions] as const)]);
      return { ...next, notes, vain: inVain(memory, action.names, nowMs) };
    }
    case "tidy":
      return { ...next, tidiedMs: nowMs };
    case "set-name":
      return {
        ...next,
        pinned: new Set([...memory.pinned, `${action.name}@${action.digest}`]),
        vain: inVain(memory, [action.name], nowMs),
      };
    case "release":
      return action.how === "unpin"
        ? { ...next, letGo: new Set([...memory.letGo, `${action.name}@${action.digest}`]) }
        : next;
    default:
      return next;
  }
}

export function afterFailure(memory: Memory, action: Action, error: unknown, nowMs: number): Memory {
  const key = keyOf(action);
  const count = (memory.failures.get(key)?.count ?? 0) + 1;
  const code = error instanceof CodedError ? String(error.code) : "unknown";
  const failure = { count, untilMs: nowMs + failureDelayMs(count), message: causeText(error), code };
  return { ...memory, failures: new Map([...memory.failures, [key, failure]]) };
}

/** What is no longer wished for was not done in vain. */
export function afterDecision(memory: Memory, wished: ReadonlySet<string>): Memory {
  return { ...memory, repeats: new Map([...memory.repeats].filter(([key]) => wished.has(key))) };
}

/** What failed is tried again at once: something has changed that may have been the reason. */
export function forgetFailures(memory: Memory, isMeant: (key: string, code: string) => boolean): Memory {
  const failures = [...memory.failures].filter(([key, { code }]) => !isMeant(key, code));
  return { ...memory, failures: new Map(failures) };
}

/** Taken back by `notice` when the images are warm. */
function inVain(memory: Memory, names: readonly string[], nowMs: number): Memory["vain"] {
  const counted = names.map((name) => [name, { count: (memory.vain.get(name)?.count ?? 0) + 1, atMs: nowMs }] as const);
  return new Map([...memory.vain, ...counted]);
}

function afterInjection(
  memory: Memory,
  { disk, names }: Extract<Action, { type: "inject" }>,
  { images }: InjectReport,
  nowMs: number,
): Memory {
  const vain = inVain(memory, names, nowMs);
  const skipped = new Set(memory.skipped);
  const notes = new Map(memory.notes);
  for (const image of images) {
    if (image.result === "skipped") skipped.add(`${disk} ${image.digest}`);
    for (const name of image.names) notes.set(name, image.conditions);
  }
  return { ...memory, vain, skipped, notes };
}
