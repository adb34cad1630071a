import type { Digest } from "../../oci/descriptor.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import type { Memory } from "./memory.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import { isWarm, type View } from "./world.ts";

/** Until the registry is asked again for a tag with `refresh: Never`, when it does not have what the tag stands for. */
const missingAgainMs = 300_000;

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

/** Whether the last fetch failed because the registry does not have it. */
export function isMissing({ failures }: Pick<Memory, "failures">, digest: Digest): boolean {
  return failures.get(`fetch ${digest}`)?.code === "not-found";
}

/** When the registry is to be asked for a tag; `undefined`: never. */
function resolveDueMs(view: View, image: DesiredImage): number | undefined {
  const { sets, reference, refresh, wanted, name } = image;
  if (sets.length === 0 || reference.digest !== undefined) return undefined;
  const last = view.memory.resolved.get(name);
  if (refresh === "Never") {
    if (wanted === undefined) return view.nowMs;
    if (isWarm(view, image) || !isMissing(view.memory, wanted.digest)) return undefined;
    return last === undefined ? view.nowMs : last.atMs + missingAgainMs;
  }
  if (waitsForRegistry(view, image)) return view.nowMs;
  return last === undefined ? view.nowMs : last.atMs + refresh * last.share;
}
