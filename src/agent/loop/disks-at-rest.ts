import { keyOf } from "../decide/action.ts";
import type { Decision } from "../decide/decide.ts";
import type { World } from "../decide/world.ts";

/** The last look at the node, and what was decided by it. */
export type Seen = { readonly world: World; readonly decision: Decision };

/**
 * Ids of the disks that are trusted and not injected, with which nothing was to be done by the last decision and nothing is done now: to ask
 * who holds a disk keeps it from being mounted for a moment. `running`: keys of what is done now.
 */
export function disksAtRest(seen: Seen | undefined, running: ReadonlyMap<string, string>): ReadonlySet<string> {
  if (seen === undefined) return new Set();
  const { found, injected } = seen.world;
  const busy = new Set([...running.keys(), ...seen.decision.actions.map(keyOf)]);
  const mounted = new Set(injected.map(({ id }) => id));
  const trusted = found.flatMap(({ state, identity }) => (state === "trusted" && identity ? [identity.id] : []));
  return new Set(trusted.filter((id) => !mounted.has(id) && !busy.has(`disk ${id}`)));
}

/** Whether the last look did not ask who holds a disk that is at rest. */
export function hasUnaskedDisk(seen: Seen | undefined, running: ReadonlyMap<string, string>): boolean {
  const atRest = disksAtRest(seen, running);
  const { found = [], holders } = seen?.world ?? {};
  return found.some(({ path, identity }) => atRest.has(identity?.id ?? "") && holders?.has(path) !== true);
}
