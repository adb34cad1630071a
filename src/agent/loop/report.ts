import type { FetchProgress } from "../../runtime/image-keeper.ts";
import type { Condition } from "../../runtime/runtime.ts";
import type { Decision } from "../decide/decide.ts";
import { contentOf, viewOf, type World } from "../decide/world.ts";
import type { AgentStatus, GateStatus, ImagePhase, ImageStatus, SetStatus } from "../status.ts";

export type ReportFacts = {
  readonly runtime: string;
  readonly world: World;
  readonly decision: Decision;
  readonly gate: GateStatus;
  readonly conditions: readonly Condition[];
  /** By digest. */
  readonly progress: ReadonlyMap<string, FetchProgress>;
  /** By name: the phase, and since when. */
  readonly phases: ReadonlyMap<string, { readonly phase: ImagePhase; readonly sinceMs: number }>;
  readonly nowMs: number;
  /** Unix seconds, as the node believes. */
  readonly wallSeconds: number;
};

/** What the agent tells of itself. */
export function reportStatus({ runtime, world, decision, gate, conditions, ...facts }: ReportFacts): AgentStatus {
  const images = reportImages({ world, decision, ...facts });
  const warm = new Set(images.flatMap(({ name, phase }) => (phase === "Warm" ? [name] : [])));
  const sets = world.sets.map(
    ({ name, isSelected, images: names, conditions: ofSet }): SetStatus => ({
      name,
      isSelected,
      images: names.length,
      warm: names.filter((each) => warm.has(each)).length,
      conditions: ofSet,
    }),
  );
  return { runtime, images, disks: decision.disks, sets, gate, conditions };
}

function reportImages({
  world,
  decision,
  progress,
  phases,
  nowMs,
  wallSeconds,
}: Omit<ReportFacts, "runtime" | "gate" | "conditions">): readonly ImageStatus[] {
  const view = viewOf(world);
  return view.desired.map((image): ImageStatus => {
    const { name, sets, gate, priority, wanted, next } = image;
    const { phase, reason, conditions } = decision.images.get(name) ?? { phase: "Pending", reason: "", conditions: [] };
    const origin = view.records.get(name)?.origin;
    const fetching = progress.get((phase === "Fetching" ? wanted?.digest : next) ?? "");
    const keys = [
      `fetch ${wanted?.digest}`,
      `fetch ${next}`,
      `name ${name}`,
      `resolve ${name}`,
      ...image.disks.map(({ id }) => `disk ${id}`),
    ];
    const failure = keys.map((key) => view.memory.failures.get(key)).find((each) => each !== undefined);
    const asked = view.memory.resolved.get(name);
    const waits = failure !== undefined && failure.untilMs > nowMs;
    return {
      name,
      phase,
      phaseSeconds: seconds(nowMs - (phases.get(name)?.sinceMs ?? nowMs)),
      ...ageOf(contentOf(view, image)?.createdSeconds, wallSeconds),
      ...(asked && { resolvedSeconds: seconds(nowMs - asked.atMs) }),
      reason,
      ...(wanted && { digest: wanted.digest }),
      ...(origin && { source: sourceNames[origin.from] }),
      ...(origin?.from === "disk" && { disk: origin.disk }),
      sets,
      gate,
      priority,
      ...(fetching && { progress: fetching }),
      ...(failure && { lastError: failure.message }),
      ...(waits && { retryInSeconds: seconds(failure.untilMs - nowMs) }),
      disappearances: view.memory.images.get(name)?.disappearances ?? 0,
      heldBy: contentOf(view, image)?.users ?? [],
      conditions,
    };
  });
}

/** Where the node has an image from, as people read it. */
export const sourceNames = { disk: "disk", fetch: "registry", elsewhere: "node" } as const;

/** A clock that is behind says nothing of the age of anything. */
function ageOf(createdSeconds: number | undefined, wallSeconds: number): Pick<ImageStatus, "ageSeconds"> {
  return createdSeconds === undefined || createdSeconds > wallSeconds
    ? {}
    : { ageSeconds: wallSeconds - createdSeconds };
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 100) / 10);
}
