import type { Digest } from "../../oci/descriptor.ts";
import type { ImageObservation, NodeContent, NodeImage } from "../../runtime/image-keeper.ts";
import type { DiskStatus, User } from "../../runtime/runtime.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import type { NodeSet } from "../desired/listed-images.ts";
import type { Policy } from "../desired/policy.ts";
import type { UsableDisk } from "../desired/wanted-disks.ts";
import type { FoundDisk } from "../disks/disk-finder.ts";
import type { SpaceUse } from "../space/space-gauge.ts";
import type { AgentRecord } from "../state/agent-state.ts";
import type { Memory } from "./memory.ts";

/** All that a decision depends on. Times are of a clock that only goes forward. */
export type World = {
  readonly nowMs: number;
  readonly policy: Policy;
  readonly sets: readonly NodeSet[];
  /** The most urgent first. */
  readonly desired: readonly DesiredImage[];
  readonly usable: readonly UsableDisk[];
  readonly found: readonly FoundDisk[];
  readonly injected: readonly DiskStatus[];
  readonly observation: ImageObservation;
  readonly record: AgentRecord;
  readonly space: readonly SpaceUse[];
  /** Why nothing that can wait is to be fetched now; empty when it may be. */
  readonly pressure: string;
  /** By path: who holds disks that are found and not injected; those that were not asked about are missing, `undefined` was asked in vain. */
  readonly holders: ReadonlyMap<string, readonly User[] | undefined>;
  readonly memory: Memory;
  /** Keys of actions that run, or that ended after this world was looked at. */
  readonly running: ReadonlyMap<string, string>;
  /** Names whose records others are changing, and until when they are left to that. */
  readonly unsettled: ReadonlyMap<string, number>;
};

/** A world with what is looked up in it again and again. */
export type View = World & {
  readonly records: ReadonlyMap<string, NodeImage>;
  readonly statusById: ReadonlyMap<string, DiskStatus>;
  readonly usableById: ReadonlyMap<string, UsableDisk>;
};

export function viewOf(world: World): View {
  return {
    ...world,
    records: new Map(world.observation.images.map((image) => [image.name, image])),
    statusById: new Map(world.injected.map((status) => [status.id, status])),
    usableById: new Map(world.usable.map((disk) => [disk.id, disk])),
  };
}

/** What the node has of the digest that an image is to have. */
export function contentOf({ observation }: View, { wanted }: DesiredImage): NodeContent | undefined {
  return wanted && observation.contents.get(wanted.digest);
}

/** Whether the name of an image that nobody lists was given to another one by others: it is not ours to move, then. */
export function isLeftToOthers({ records }: View, { name, sets, wanted }: DesiredImage): boolean {
  const record = records.get(name);
  return sets.length === 0 && record?.origin.from === "elsewhere" && record.digest !== wanted?.digest;
}

/** Whether a container can be started by that name, of what it is to stand for. */
export function isWarm(view: View, image: DesiredImage): boolean {
  const record = view.records.get(image.name);
  if (record === undefined) return false;
  const isAsWanted = record.digest === image.wanted?.digest || isLeftToOthers(view, image);
  return isAsWanted && view.observation.contents.get(record.digest)?.isWarm === true;
}

/** When a disk that is away now has been so for too long. */
export function awayEndMs({ memory, policy, nowMs }: Pick<World, "memory" | "policy" | "nowMs">, disk: string): number {
  return (memory.awaySince.get(disk) ?? nowMs) + policy.diskGraceMs;
}

/** Whether an image was given up for space, and has not come back since. */
export function isEvicted({ record }: Pick<World, "record">, { wanted }: Pick<DesiredImage, "wanted">): boolean {
  return wanted !== undefined && Object.hasOwn(record.evicted, wanted.digest);
}

/** `repository@digest`. */
export function digestName({ reference }: DesiredImage, digest: Digest): string {
  return `${reference.host}/${reference.repository}@${digest}`;
}

/** What wanted names are to stand for, now and next, and what they stand for until that is warm: by digest those who need it. */
export function needers({
  desired,
  records,
}: Pick<View, "desired" | "records">): ReadonlyMap<Digest, readonly DesiredImage[]> {
  const byDigest = new Map<Digest, DesiredImage[]>();
  for (const image of desired) {
    for (const digest of new Set([image.wanted?.digest, image.next, records.get(image.name)?.digest])) {
      if (digest === undefined) continue;
      const list = byDigest.get(digest);
      if (list === undefined) byDigest.set(digest, [image]);
      else list.push(image);
    }
  }
  return byDigest;
}
