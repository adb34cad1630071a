import type { DesiredImage } from "../desired/desired-images.ts";
import type { Plan } from "./plan.ts";
import type { View } from "./world.ts";

/**
 * Keeps in the state what a listed tag stands for: with `Never` the first digest that was known. Else what the registry says, once the node has
 * that, or where nothing else is known; and until then what the node has.
 */
export function rememberDigest(view: View, plan: Plan, image: DesiredImage): void {
  const { name, reference, wanted, sets } = image;
  if (sets.length === 0 || reference.digest !== undefined || wanted === undefined) return;
  const known = Object.hasOwn(view.record.tags, name) ? view.record.tags[name] : undefined;
  const { digest, disk } = wanted;
  if (known?.digest === digest && (known.disk === undefined || disk !== undefined)) return;
  if (isToBeKept(view, image, known !== undefined))
    plan.add({ type: "remember", name, tag: disk === undefined ? { digest } : { digest, disk } });
}

function isToBeKept(
  { memory, observation }: View,
  { name, refresh, wanted, isOnlyTold }: DesiredImage,
  isKnown: boolean,
): boolean {
  if (refresh === "Never") return true;
  const told = memory.resolved.get(name)?.digest;
  if (told === undefined || wanted === undefined) return false;
  if (isOnlyTold === true) return true;
  const isWarm = observation.contents.get(wanted.digest)?.isWarm === true;
  return isWarm && (told === wanted.digest || !isKnown);
}
