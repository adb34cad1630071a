import type { Condition } from "../../runtime/runtime.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import { digestOnDisk } from "../desired/wanted-digest.ts";
import { keyOf } from "./action.ts";
import { keepsDisappearing, restoreAtMs, vainUntilMs } from "./back-off.ts";
import { decideResolve, waitsForRegistry } from "./decide-resolve.ts";
import { decideUpdate } from "./decide-update.ts";
import { FetchQueue } from "./fetch-queue.ts";
import { usableFor, whatToWaitFor } from "./image-sources.ts";
import { Injections } from "./injections.ts";
import { type ImageVerdict, type Plan, verdict } from "./plan.ts";
import { rememberDigest } from "./remember-digest.ts";
import { contentOf, digestName, isEvicted, isLeftToOthers, isWarm, type View } from "./world.ts";

/** What every image needs, the most urgent first: already warm, else a disk, else the registry. */
export function decideImages(view: View, plan: Plan): ReadonlyMap<string, ImageVerdict> {
  const injections = new Injections(view, plan);
  const fetches = new FetchQueue(view, plan);
  const verdicts = new Map<string, () => ImageVerdict>();
  for (const image of view.desired) {
    const resolving = decideResolve(view, plan, image);
    const settle = decideImage(view, plan, { injections, fetches }, image, resolving);
    const tellUpdate = decideUpdate(view, plan, fetches, image);
    verdicts.set(image.name, () => withNotes(view, image, settle(), resolving, tellUpdate()));
  }
  injections.finish();
  fetches.finish();
  return new Map([...verdicts].map(([name, settle]) => [name, settle()]));
}

type Queues = { readonly injections: Injections; readonly fetches: FetchQueue };

/** Notes what the image needs; what comes back says how that stands once all needs are known. */
function decideImage(
  view: View,
  plan: Plan,
  { injections, fetches }: Queues,
  image: DesiredImage,
  resolving: ImageVerdict | undefined,
): () => ImageVerdict {
  const { wanted, name, sets } = image;
  if (wanted === undefined) return () => resolving ?? verdict("Pending", "its digest is not known yet");
  rememberDigest(view, plan, image);
  // Near its end it looks warm already, and what is left to do would be lost.
  if (sets.length > 0 && view.running.get(`fetch ${wanted.digest}`) === "fetch") return fetches.need(image);
  const content = contentOf(view, image);
  if (isWarm(view, image)) {
    pin(view, plan, image);
    return () => verdict("Warm");
  }
  if (isLeftToOthers(view, image))
    return () => verdict("Held", "others have given its name to an image that is not whole");
  if (isEvicted(view, image))
    return () => verdict("Held", "given up for space; it comes back when there has been room for ten minutes");
  const untilMs = Math.max(
    restoreAtMs(view.memory.images.get(name), view.nowMs),
    vainUntilMs(view.memory.vain, name),
    unsettledUntilMs(view, image),
  );
  if (untilMs > view.nowMs && !isBeingMade(view, image)) {
    plan.wakeAt(untilMs);
    return () => whileWaiting(view, image);
  }
  if (waitsForRegistry(view, image))
    return () =>
      resolving ?? verdict("Held", `others set it to ${view.records.get(name)?.digest}; waits for the registry`);
  const [disk] = usableFor(view, image);
  const record = view.records.get(name);
  if (content?.isWarm) {
    const isOnDisk = disk !== undefined && digestOnDisk(disk, name) === wanted.digest;
    const isOfDisk = sets.length === 0 && record?.origin.from === "disk";
    if (isOnDisk && (record === undefined || isOfDisk)) return injections.need(disk, image);
    const naming = plan.add({ type: "set-name", name, digest: wanted.digest });
    return () =>
      naming.state === "runs" ? verdict("Pending", "its name is being set") : verdict("Failed", naming.failure.message);
  }
  if (disk !== undefined) return injections.need(disk, image);
  const waited = whatToWaitFor(view, plan, image);
  if (waited !== undefined) return () => waited;
  if (sets.length === 0) return () => verdict("Failed", "its disk does not give it, and no image set lists it");
  return fetches.need(image);
}

/** A listed image is pinned, whoever brought it; once, for not every version shows it. */
function pin(view: View, plan: Plan, image: DesiredImage): void {
  const { records, memory, unsettled, nowMs } = view;
  const { name, wanted, sets } = image;
  const record = records.get(name);
  if (sets.length === 0 || wanted === undefined || record === undefined || record.isPinned) return;
  if (memory.pinned.has(`${name}@${wanted.digest}`) || isEvicted(view, image)) return;
  if ((unsettled.get(name) ?? 0) <= nowMs) plan.add({ type: "set-name", name, digest: wanted.digest });
}

function unsettledUntilMs({ unsettled }: View, image: DesiredImage): number {
  const names = image.wanted === undefined ? [image.name] : [image.name, digestName(image, image.wanted.digest)];
  return Math.max(...names.map((name) => unsettled.get(name) ?? 0));
}

/** Whether an action for it runs, which is not to be broken off because others touch its records. */
function isBeingMade({ running }: View, { wanted, disks, name }: DesiredImage): boolean {
  const fetching = wanted !== undefined && running.has(`fetch ${wanted.digest}`);
  return fetching || running.has(`name ${name}`) || disks.some(({ id }) => running.get(`disk ${id}`) === "inject");
}

function whileWaiting({ memory }: View, { name }: DesiredImage): ImageVerdict {
  if (restoreAtMs(memory.images.get(name), 0) > 0 && keepsDisappearing(memory.images.get(name)))
    return verdict("Held", "something keeps deleting or moving it; it is restored less often");
  if ((memory.vain.get(name)?.count ?? 0) >= 2) return verdict("Failed", "it was made, and is not usable");
  return verdict("Pending", "others are changing it");
}

function withNotes(
  view: View,
  image: DesiredImage,
  settled: ImageVerdict,
  resolving: ImageVerdict | undefined,
  ofUpdate: readonly Condition[],
): ImageVerdict {
  const { memory, records } = view;
  const found = memory.images.get(image.name);
  const conditions: Condition[] = [...settled.conditions, ...ofUpdate];
  if (keepsDisappearing(found))
    conditions.push({
      type: "KeepsDisappearing",
      message: `something deleted or moved it ${found?.lostAtMs.length} times within the hour; look for what removes or pulls images on this node`,
    });
  const failure = memory.failures.get(keyOf({ type: "resolve", name: image.name, reference: image.reference }));
  if (failure !== undefined && image.sets.length > 0 && resolving?.phase !== "Resolving")
    conditions.push({
      type: "RegistryUnreachable",
      message: image.wanted === undefined ? failure.message : `${failure.message}; the last digest stays`,
    });
  const record = records.get(image.name);
  if (settled.phase === "Warm" && record !== undefined && record.digest !== image.wanted?.digest)
    conditions.push({ type: "TagKept", message: `${image.name} is ${record.digest} on this node, set by others` });
  if (isEvicted(view, image))
    conditions.push({
      type: "Evicted",
      message: `given up for space${since(view, image)}: too much of the file system was in use`,
    });
  // Said above as it is now.
  const notes = (memory.notes.get(image.name) ?? []).filter(({ type }) => type !== "TagKept");
  return { ...settled, conditions: [...conditions, ...notes] };
}

/** As the clock of the node had it. */
function since({ record }: View, { wanted }: DesiredImage): string {
  const given = wanted && record.evicted[wanted.digest];
  // What no calendar has was written by a clock that was broken.
  const time = new Date((given?.atSeconds ?? Number.NaN) * 1000);
  return Number.isNaN(time.getTime()) ? "" : ` at ${time.toISOString()}`;
}
