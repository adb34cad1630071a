import type { AgentDiskStatus } from "../status.ts";
import { type Action, keyOf } from "./action.ts";
import { decideDisks } from "./decide-disks.ts";
import { decideEvictions, decideReadmissions, decideTidying } from "./decide-evictions.ts";
import { decideImages } from "./decide-images.ts";
import { decideReleases } from "./decide-releases.ts";
import { type ImageVerdict, Plan } from "./plan.ts";
import { viewOf, type World } from "./world.ts";

export type Decision = {
  /** All that is wanted now, the most urgent first: what runs already is among it, and what runs and is not is to be broken off. */
  readonly actions: readonly Action[];
  /** When to decide again though nothing happens; infinite when not. */
  readonly nextAtMs: number;
  /** Keys of what is wanted, also of what waits for its next try. */
  readonly wished: ReadonlySet<string>;
  /** By name. */
  readonly images: ReadonlyMap<string, ImageVerdict>;
  readonly disks: readonly AgentDiskStatus[];
};

/** What to do, given the world and what was noticed about it (`notice`). */
export function decide(world: World): Decision {
  const view = viewOf(world);
  const plan = new Plan(view);
  const images = decideImages(view, plan);
  const disks = decideDisks(view, plan);
  decideTidying(view, plan);
  decideEvictions(view, plan);
  decideReadmissions(view, plan);
  decideReleases(view, plan);
  return { actions: distinct(plan.actions), nextAtMs: plan.nextAtMs, wished: plan.wished, images, disks };
}

/** Of two with one key the more urgent one; the other is wished for again when that is done. */
function distinct(actions: readonly Action[]): readonly Action[] {
  const byKey = new Map<string, Action>();
  for (const action of actions) if (!byKey.has(keyOf(action))) byKey.set(keyOf(action), action);
  return [...byKey.values()];
}
