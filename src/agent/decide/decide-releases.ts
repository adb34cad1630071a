import type { NodeImage } from "../../runtime/image-keeper.ts";
import { usedPercent } from "../space/space-gauge.ts";
import type { Plan } from "./plan.ts";
import { digestName, needers, type View } from "./world.ts";

/** A folder of documents may be replaced file by file: what is missing for a moment is not let go of. */
const unlistedMs = 10_000;

/** Lets go of names that are no longer wanted: never of what Nodewarm did not bring, never of what is in use. */
export function decideReleases(view: View, plan: Plan): void {
  const { observation, desired } = view;
  const names = new Set(desired.map(({ name }) => name));
  const isNeeded = needOf(view);
  const repositories = new Set(
    desired.flatMap(({ sets, reference }) => (sets.length > 0 ? [repositoryOf(reference)] : [])),
  );
  const kept = new Set<string>();
  for (const image of observation.images) {
    if (names.has(image.name)) continue;
    if (image.origin.from === "elsewhere") letGoOf(view, plan, image);
    else if (image.origin.from === "disk" && goesWithDisk(view, image, image.origin.disk)) continue;
    else if (isNeeded(image) || !mayGo(view, plan, image, repositories)) kept.add(image.name);
    else plan.add({ type: "release", name: image.name, digest: image.digest, how: "remove", why: "unwanted" });
  }
  for (const name of Object.keys(view.record.tags))
    if (!names.has(name) && !kept.has(name)) plan.add({ type: "forget", name });
}

/**
 * Whether an image is kept by a name that nobody wants: a wanted name is to stand for it and does not yet, or the name is the digest of a wanted
 * one. A second tag of what a wanted name has already keeps nothing.
 */
function needOf(view: View): (image: NodeImage) => boolean {
  const byDigest = needers(view);
  return ({ name, digest }) =>
    (byDigest.get(digest) ?? []).some(
      (image) => view.records.get(image.name)?.digest !== digest || digestName(image, digest) === name,
    );
}

/** The previous image of a listed repository stays a while beyond its last container, while there is space; others go when nothing uses them. */
function mayGo(view: View, plan: Plan, { name, digest }: NodeImage, repositories: ReadonlySet<string>): boolean {
  const { memory, policy, nowMs, observation, space } = view;
  const users = observation.contents.get(digest)?.users ?? [];
  if (users.length > 0) return false;
  const isPrevious = name.includes("@") && repositories.has(name.slice(0, name.indexOf("@")));
  const isTight = space.some((use) => usedPercent(use) > policy.evictAbove);
  const idleMs = memory.idleSince.get(digest) ?? nowMs;
  const neededMs = isTight ? Number.NEGATIVE_INFINITY : (memory.wantedUntil.get(name) ?? Number.NEGATIVE_INFINITY);
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

/** What a disk that is wanted whole brought under its own names, or one that cannot be used now; not a listed name that was given one of its images. */
function goesWithDisk({ usableById }: View, { name, digest }: NodeImage, disk: string): boolean {
  const usable = usableById.get(disk);
  if (usable === undefined) return true;
  // Only listed images are wanted of it, or a newer disk takes its place.
  if (!usable.isWhole) return false;
  const repository = name.includes("@") ? `${name.slice(0, name.indexOf("@"))}:` : undefined;
  const own = usable.images.filter((image) => image.digest === digest).flatMap(({ names }) => names);
  return (
    own.length === 0 || own.some((each) => each === name || (repository !== undefined && each.startsWith(repository)))
  );
}

function repositoryOf({ host, repository }: { readonly host: string; readonly repository: string }): string {
  return `${host}/${repository}`;
}
