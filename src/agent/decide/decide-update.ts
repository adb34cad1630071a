import type { Condition } from "../../runtime/runtime.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import { vainUntilMs } from "./back-off.ts";
import { waitsForRegistry } from "./decide-resolve.ts";
import type { FetchQueue } from "./fetch-queue.ts";
import { whatToWaitFor } from "./image-sources.ts";
import type { Plan } from "./plan.ts";
import { isEvicted, type View } from "./world.ts";

/**
 * Fetches what the registry says that a tag stands for now, while its name stays what it is: that moves once this is warm. What comes back says what
 * is to be told of it once all needs are known.
 */
export function decideUpdate(
  view: View,
  plan: Plan,
  fetches: FetchQueue,
  image: DesiredImage,
): () => readonly Condition[] {
  const { next, wanted, name } = image;
  if (next === undefined || wanted === undefined) return () => [];
  const tell = (how: string) => () => [conditionOf(view, image, how)];
  const update: DesiredImage = { ...image, wanted: { digest: next, from: "registry" }, disks: [] };
  if (isEvicted(view, image) || isEvicted(view, update)) return tell("it is not fetched for want of space");
  if (waitsForRegistry(view, image)) return tell("the registry is asked again, for others have moved the name");
  const untilMs = vainUntilMs(view.memory.vain, name);
  if (untilMs > view.nowMs && !view.running.has(`fetch ${next}`)) {
    plan.wakeAt(untilMs);
    return tell("it was made, and is not usable");
  }
  const waited = whatToWaitFor(view, plan, update);
  if (waited !== undefined) return tell(waited.reason);
  const settle = fetches.need(update);
  return () => tell(settle().reason)();
}

function conditionOf({ memory }: View, { next, wanted }: DesiredImage, how: string): Condition {
  const failure = memory.failures.get(`fetch ${next}`);
  if (failure === undefined || failure.code === "no-space")
    return {
      type: "Updating",
      message: `the registry says ${next}: ${failure?.message ?? how}; ${wanted?.digest} stays until then`,
    };
  return {
    type: "DigestUnavailable",
    message: `the registry says ${next}, which cannot be had: ${failure.message}; ${wanted?.digest} stays, and it is tried again`,
  };
}
