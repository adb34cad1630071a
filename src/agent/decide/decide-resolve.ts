import type { DesiredImage } from "../desired/desired-images.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import type { View } from "./world.ts";

/** Asks the registry when a tag is due. The verdict of an image that cannot go on without the answer. */
export function decideResolve(view: View, plan: Plan, image: DesiredImage): ImageVerdict | undefined {
  const dueMs = resolveDueMs(view, image);
  if (dueMs === undefined) return undefined;
  if (dueMs > view.nowMs) {
    plan.wakeAt(dueMs);
    return undefined;
  }
  const asking = plan.add({ type: "resolve", name: image.name, reference: image.reference });
  if (asking.state === "runs") return verdict("Resolving", "the registry is asked for its digest");
  return verdict(image.wanted === undefined ? "Failed" : "Held", asking.failure.message);
}

/**
 * Whether somebody else has moved a listed tag since the registry was asked: it is asked anew before the tag is touched, and while it cannot
 * be reached the tag is left.
 */
export function waitsForRegistry({ memory }: View, { name, refresh }: DesiredImage): boolean {
  if (refresh === "Never") return false;
  const stranger = memory.strangers.get(name);
  return stranger !== undefined && (memory.resolved.get(name)?.atMs ?? Number.NEGATIVE_INFINITY) <= stranger.sinceMs;
}

/** When the registry is to be asked for a tag; `undefined`: never. */
function resolveDueMs(view: View, image: DesiredImage): number | undefined {
  const { sets, reference, refresh, wanted, name } = image;
  if (sets.length === 0 || reference.digest !== undefined) return undefined;
  if (refresh === "Never") return wanted === undefined ? view.nowMs : undefined;
  if (waitsForRegistry(view, image)) return view.nowMs;
  const last = view.memory.resolved.get(name);
  return last === undefined ? view.nowMs : last.atMs + refresh * last.share;
}
