import { type Digest, isDigest } from "../../oci/descriptor.ts";
import { usedPercent } from "../space/space-gauge.ts";
import { keyOf } from "./action.ts";
import type { Plan } from "./plan.ts";
import { digestName, type View } from "./world.ts";

/** Given-up images come back when there has been room for so long. */
const roomMs = 600_000;

/** The runtime collects what was released by and by: so long it is given before more is released. */
const settleMs = 15_000;

/** Leftovers of fetches are removed this often; more often while a file system is too full. */
const tidyMs = 3_600_000;
const tidyTightMs = 60_000;

/** Removes what fetches left that nobody goes on with, such as of images that were taken from a list while they came. */
export function decideTidying({ space, policy, nowMs, memory }: View, plan: Plan): void {
  const isTight = space.some((use) => usedPercent(use) > policy.evictAbove);
  // The passes that there are anyhow are often enough.
  if (nowMs - memory.tidiedMs >= (isTight ? tidyTightMs : tidyMs)) plan.add({ type: "tidy", isTight });
}

/**
 * Gives up one fetched image when a file system is too full: unused, of no gate, of the lowest priority. Those of disks take no space and
 * stay.
 */
export function decideEvictions(view: View, plan: Plan): void {
  const { space, policy, nowMs, memory, running } = view;
  if (!space.some((use) => usedPercent(use) > policy.evictAbove)) return;
  const nextMs = memory.lastEvictedMs + settleMs;
  plan.wakeAt(Math.max(nextMs, nowMs + settleMs));
  if (nextMs > nowMs) return;
  const digest = evictable(view);
  if (digest === undefined) return;
  for (const { name } of namesOf(view, digest)) {
    const action = { type: "release", name, digest, how: "remove", why: "space" } as const;
    if (!running.has(keyOf(action))) plan.add(action);
  }
}

/** Lets given-up images come back when there has been room for long enough, and forgets those that nobody wishes for any more. */
export function decideReadmissions({ record, desired, memory, nowMs }: View, plan: Plan): void {
  const evicted = Object.keys(record.evicted).filter(isDigest);
  if (evicted.length === 0) return;
  const endMs = memory.roomSinceMs === undefined ? Number.POSITIVE_INFINITY : memory.roomSinceMs + roomMs;
  if (endMs > nowMs) plan.wakeAt(endMs);
  const wished = new Set(desired.flatMap(({ wanted, next }) => [wanted?.digest, next]));
  const digests = endMs <= nowMs ? evicted : evicted.filter((digest) => !wished.has(digest));
  if (digests.length > 0) plan.add({ type: "readmit", digests });
}

function evictable(view: View): Digest | undefined {
  const { desired, observation } = view;
  const guarded = new Set(
    desired.flatMap(({ gate, disks, wanted }) => (wanted && (gate || disks.length > 0) ? [wanted.digest] : [])),
  );
  // The least urgent are last.
  for (const image of [...desired].reverse()) {
    const digest = image.wanted?.digest;
    if (digest === undefined || guarded.has(digest) || image.sets.length === 0) continue;
    const content = observation.contents.get(digest);
    if (content === undefined || content.users.length > 0) continue;
    if (namesOf(view, digest).some(({ origin }) => origin.from === "fetch")) return digest;
  }
  return undefined;
}

function namesOf({ observation, desired }: View, digest: Digest) {
  const wanted = new Set(
    desired
      .filter((image) => image.wanted?.digest === digest)
      .flatMap((image) => [image.name, digestName(image, digest)]),
  );
  return observation.images.filter(
    (image) => image.digest === digest && (image.origin.from === "fetch" || wanted.has(image.name)),
  );
}
