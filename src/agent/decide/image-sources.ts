import type { DesiredImage } from "../desired/desired-images.ts";
import type { UsableDisk } from "../desired/wanted-disks.ts";
import { isGivenUp } from "./injections.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import { awayEndMs, type View } from "./world.ts";

/** So often in vain, and a disk is taken not to have what it says. */
const vainInjections = 3;

/**
 * Disks that can give the image, best first. One that is listed is fetched where they were to give it several times in vain, or their injection
 * failed as often: the runtime may be one that nothing can be injected into.
 */
export function usableFor(view: View, { disks, wanted, name, sets }: DesiredImage): readonly UsableDisk[] {
  const { memory } = view;
  const isListed = sets.length > 0;
  if (isListed && (memory.vain.get(name)?.count ?? 0) >= vainInjections) return [];
  const hasFailed = (id: string) => (memory.failures.get(`disk ${id}`)?.count ?? 0) >= vainInjections;
  return disks.filter(
    ({ id, isChecking }) =>
      !isChecking &&
      !isGivenUp(view, id) &&
      !memory.skipped.has(`${id} ${wanted?.digest}`) &&
      !(isListed && hasFailed(id)),
  );
}

/** A disk that may give the image soon is waited for, rather than fetching. */
export function whatToWaitFor(view: View, plan: Plan, { wanted, name }: DesiredImage): ImageVerdict | undefined {
  const { injected, memory, found, nowMs } = view;
  for (const { id, images } of injected) {
    if (!memory.awaySince.has(id) || !images.some(({ digest }) => digest === wanted?.digest)) continue;
    const endMs = awayEndMs(view, id);
    if (endMs <= nowMs) continue;
    plan.wakeAt(endMs);
    return verdict("Held", `disk ${id.slice(0, 12)} is away; waits for it before fetching`);
  }
  const checking = found.find(
    ({ state, identity }) => state === "checking" && identity?.images.some(({ digest }) => digest === wanted?.digest),
  );
  return checking && verdict("Held", `${checking.path} has it, and is being verified: ${name}`);
}
