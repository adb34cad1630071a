import type { NodeSet } from "../desired/listed-images.ts";
import type { GateStatus } from "../status.ts";

export type GateFacts = {
  readonly sets: readonly NodeSet[];
  /** Whether an image is warm. */
  readonly isWarm: (name: string) => boolean;
  /** What else is waited for: disks that are about to be injected, the runtime, a configuration. */
  readonly awaited: readonly string[];
  readonly startedAtMs: number;
  readonly nowMs: number;
};

/** How long that is waited for which no image set gates: a node with a disk and no set boots warm, too. */
const awaitedTimeoutMs = 600_000;

/**
 * Whether workloads may come: of each set all gated images are warm, or its time is up and it opens then; and nothing else is
 * awaited. The result holds until `nextAtMs` unless an image changes.
 */
export function decideGate({
  sets,
  isWarm,
  awaited,
  startedAtMs,
  nowMs,
}: GateFacts): GateStatus & { readonly nextAtMs: number } {
  let nextAtMs = Number.POSITIVE_INFINITY;
  const waiting: string[] = [];
  const opened: string[] = [];
  for (const { name, gated, gateTimeoutMs, onTimeout } of sets) {
    const cold = gated.filter((image) => !isWarm(image));
    if (cold.length === 0) continue;
    const endMs = startedAtMs + gateTimeoutMs;
    if (onTimeout === "Open" && endMs <= nowMs) {
      opened.push(`${name} (${count(cold)} not warm)`);
      continue;
    }
    if (onTimeout === "Open") nextAtMs = Math.min(nextAtMs, endMs);
    waiting.push(`${count(cold)} of set ${name}, such as ${cold[0]}`);
  }
  const awaitedEndMs = startedAtMs + awaitedTimeoutMs;
  if (awaited.length > 0 && awaitedEndMs > nowMs) {
    nextAtMs = Math.min(nextAtMs, awaitedEndMs);
    waiting.push(...awaited.slice(0, 1));
  }
  if (waiting.length > 0) return { isReady: false, reason: `waits for ${waiting.join("; ")}`, nextAtMs };
  if (opened.length > 0) return { isReady: true, reason: `the time of the gate is up: ${opened.join(", ")}`, nextAtMs };
  return { isReady: true, reason: "all gated images are warm", nextAtMs };
}

function count({ length }: readonly string[]): string {
  return length === 1 ? "1 image" : `${length} images`;
}
