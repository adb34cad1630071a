import type { NodeImage } from "../../runtime/image-keeper.ts";
import { usedPercent } from "../space/space-gauge.ts";
import type { Plan } from "./plan.ts";
import { neededDigests, type View } from "./world.ts";

/** A folder of documents may be replaced file by file: what is missing for a moment is not let go of. */
const unlistedMs = 10_000;

/** Lets go of names that are no longer wanted: never of what Nodewarm did not bring, never of what is in use. */
export function decideReleases(view: View, plan: Plan): void {
  const { observation, desired } = view;
  const names = new Set(desired.map(({ name }) => name));
  const needed = neededDigests(view);
  const repositories = new Set(
    desired.flatMap(({ sets, reference }) => (sets.length > 0 ? [repositoryOf(reference)] : [])),
  );
  const kept = new Set<string>();
  for (const image of observation.images) {
    if (names.has(image.name)) continue;
    if (image.origin.from === "elsewhere") letGoOf(view, plan, image);
    // What a disk brought goes with the disk, or is no longer listed.
    else if (image.origin.from === "disk" && !isOnPartialDisk(view, image.origin.disk)) continue;
    else if (needed.has(image.digest) || !mayGo(view, plan, image, repositories)) kept.add(image.name);
    else plan.add({ type: "release", name: image.name, digest: image.digest, how: "remove", why: "unwanted" });
  }
  for (const name of Object.keys(view.record.tags))
    if (!names.has(name) && !kept.has(name)) plan.add({ type: "forget", name });
}

/** The previous image of a listed repository stays a while beyond its last container, while there is space; others go when nothing uses them. */
function mayGo(view: View, plan: Plan, { name, digest }: NodeImage, repositories: ReadonlySet<string>): boolean {
  const { memory, policy, nowMs, observation, space } = view;
  const users = observation.contents.get(digest)?.users ?? [];
  if (users.length > 0) return false;
  const isPrevious = name.includes("@") && repositories.has(name.slice(0, name.indexOf("@")));
  const isTight = space.some((use) => usedPercent(use) > policy.evictAbove);
  const idleMs = memory.idleSince.get(digest) ?? nowMs;
  const neededMs = isTight ? Number.NEGATIVE_INFINITY : (memory.neededUntil.get(digest) ?? Number.NEGATIVE_INFINITY);
  const keptMs = isPrevious && !isTight ? policy.keepPreviousMs : 0;
  const endMs = Math.max(idleMs + keptMs, neededMs + Math.max(keptMs, unlistedMs));
  if (endMs <= nowMs) return true;
  plan.wakeAt(endMs);
  return false;
}

/** A record of others that we have pinned is theirs again. */
function letGoOf({ memory }: View, plan: Plan, { name, digest, isPinned }: NodeImage): void {
  if (!isPinned || memory.letGo.has(`${name}@${digest}`)) return;
  plan.add({ type: "release", name, digest, how: "unpin", why: "unwanted" });
}

/** Of a disk that is not wanted whole: only listed images are injected, or a newer disk takes its place. */
function isOnPartialDisk({ usableById }: View, disk: string): boolean {
  const usable = usableById.get(disk);
  return usable !== undefined && !usable.isWhole;
}

function repositoryOf({ host, repository }: { readonly host: string; readonly repository: string }): string {
  return `${host}/${repository}`;
}
