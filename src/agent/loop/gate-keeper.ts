import type { Configuration } from "../config/configuration.ts";
import type { Decision } from "../decide/decide.ts";
import { decideGate } from "../decide/gate.ts";
import { isWarm, type View, viewOf, type World } from "../decide/world.ts";
import { listImages } from "../desired/listed-images.ts";
import type { AgentDiskStatus, GateStatus } from "../status.ts";

export type GateSight = {
  readonly configuration: Configuration | undefined;
  /** The last look and what was decided, where there was one. */
  readonly seen: { readonly world: World; readonly decision: Decision } | undefined;
  readonly nowMs: number;
};

/** Holds workloads back until the node is warm. Once they may come, they may until the next start. */
export class GateKeeper {
  readonly #startedAtMs: number;
  #status: GateStatus = { isReady: false, reason: "the node has not been looked at yet" };

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  get status(): GateStatus {
    return this.#status;
  }

  /** When to judge again though nothing happens. */
  judge(sight: GateSight): number {
    if (this.#status.isReady) return Number.POSITIVE_INFINITY;
    const { nextAtMs, ...status } = decideGate({
      ...factsOf(sight),
      startedAtMs: this.#startedAtMs,
      nowMs: sight.nowMs,
    });
    this.#status = status;
    return nextAtMs;
  }
}

function factsOf({ configuration, seen }: GateSight) {
  if (configuration === undefined)
    return { sets: [], isWarm: () => false, awaited: ["a configuration that can be used"] };
  if (seen === undefined) {
    const { sets } = listImages(configuration.sets, configuration.agent.labels);
    return { sets, isWarm: () => false, awaited: ["the runtime"] };
  }
  const view = viewOf(seen.world);
  const warm = new Set(view.desired.flatMap((image) => (isWarm(view, image) ? [image.name] : [])));
  const coming = seen.decision.disks.filter((disk) => {
    const { phase, reason } = disk;
    if (phase === "Checking") return willBeInjected(view, disk);
    return phase === "Injecting" || (phase === "Waiting" && reason === "");
  });
  return {
    sets: view.sets,
    isWarm: (name: string) => warm.has(name),
    awaited: coming.map(({ path }) => `disk ${path}`),
  };
}

/** Of a disk that is being verified, or has not said yet what it is: images that are listed have gates of their own. */
function willBeInjected({ policy, record, injected }: View, { id }: AgentDiskStatus): boolean {
  if (policy.inject !== "All") return false;
  if (id === undefined) return true;
  if (record.holds.includes(id)) return false;
  return !injected.some((status) => status.id === id && status.isMounted);
}
