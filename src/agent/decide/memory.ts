import type { Digest } from "../../oci/descriptor.ts";
import type { Condition } from "../../runtime/runtime.ts";
import type { DesiredImage } from "../desired/desired-images.ts";
import { usedPercent } from "../space/space-gauge.ts";
import { awayOf, troubleOf } from "./away-disks.ts";
import { digestName, isEvicted, isWarm, needers, type View, viewOf, type World } from "./world.ts";

/** What an agent remembers from look to look while it runs. Losing it costs time, never correctness. */
export type Memory = {
  readonly startedAtMs: number;
  /** By key of an action that failed. */
  readonly failures: ReadonlyMap<string, Failure>;
  /** By name: how often an action that was to make an image warm succeeded, and it was not warm then. */
  readonly vain: ReadonlyMap<string, { readonly count: number; readonly atMs: number }>;
  /** By key of an action that is still wished for after it was done: how often, and when last. */
  readonly repeats: ReadonlyMap<string, { readonly count: number; readonly atMs: number }>;
  /** By name: what the registry last said the digest is, when, and the share of the interval until it is asked again. */
  readonly resolved: ReadonlyMap<string, { readonly digest: Digest; readonly atMs: number; readonly share: number }>;
  /** By name: the digest that somebody else gave a listed tag, and since when. */
  readonly strangers: ReadonlyMap<string, { readonly digest: Digest; readonly sinceMs: number }>;
  readonly images: ReadonlyMap<string, ImageMemory>;
  /** By name, `repository@digest` too: until when it was wanted, or a wanted name stood for that digest or was to. */
  readonly wantedUntil: ReadonlyMap<string, number>;
  /** By digest: since when nothing has used it. */
  readonly idleSince: ReadonlyMap<Digest, number>;
  /** By id of an injected disk: since when it has not been where it was, or not been readable. */
  readonly awaySince: ReadonlyMap<string, number>;
  /** Ids of disks that were found at some time: they are not somebody else's. */
  readonly everFound: ReadonlySet<string>;
  readonly lastEvictedMs: number;
  /** When leftovers of fetches were removed last. */
  readonly tidiedMs: number;
  /** Since when both file systems have been under high water. */
  readonly roomSinceMs: number | undefined;
  /** `name@digest` that were set: not every version shows a pin. */
  readonly pinned: ReadonlySet<string>;
  /** `name@digest` of others' records that we let go of. */
  readonly letGo: ReadonlySet<string>;
  /** `disk digest` that an injection passed over. */
  readonly skipped: ReadonlySet<string>;
  /** By name: what the last injection or fetch had to say. */
  readonly notes: ReadonlyMap<string, readonly Condition[]>;
};

export type Failure = {
  readonly count: number;
  readonly untilMs: number;
  readonly message: string;
  readonly code: string;
};

export type ImageMemory = {
  readonly digest: Digest | undefined;
  readonly isWarm: boolean;
  /** When others took it away: at most the last 20, within the last hour. */
  readonly lostAtMs: readonly number[];
  readonly disappearances: number;
};

/** A finder that shows ever new ids must not fill the memory. */
const maxFound = 1000;
const rememberedLosses = 20;
const lossWindowMs = 3_600_000;

export function emptyMemory(startedAtMs: number): Memory {
  return {
    startedAtMs,
    failures: new Map(),
    vain: new Map(),
    repeats: new Map(),
    resolved: new Map(),
    strangers: new Map(),
    images: new Map(),
    wantedUntil: new Map(),
    idleSince: new Map(),
    awaySince: new Map(),
    everFound: new Set(),
    lastEvictedMs: Number.NEGATIVE_INFINITY,
    tidiedMs: startedAtMs,
    roomSinceMs: undefined,
    pinned: new Set(),
    letGo: new Set(),
    skipped: new Set(),
    notes: new Map(),
  };
}

/** The memory after a look at the world: since when things are as they are. What is no longer there is forgotten. */
export function notice(world: World): Memory {
  const view = viewOf(world);
  const { memory, nowMs, policy, space } = world;
  // What cannot be asked may be full.
  const hasRoom = space.length > 0 && space.every((use) => usedPercent(use) < policy.highWater);
  const roomSinceMs = hasRoom ? (memory.roomSinceMs ?? nowMs) : undefined;
  const images = noticeImages(view);
  const isUpdating = new Set(view.desired.flatMap(({ name, next }) => (next === undefined ? [] : [name])));
  const warm = new Set([...images].flatMap(([name, image]) => (image.isWarm && !isUpdating.has(name) ? [name] : [])));
  return {
    ...memory,
    images,
    vain: filtered(memory.vain, (name) => images.has(name) && !warm.has(name)),
    notes: filtered(memory.notes, (name) => images.has(name)),
    resolved: filtered(memory.resolved, (name) => images.has(name)),
    failures: filtered(memory.failures, (_, { untilMs }) => nowMs - untilMs < lossWindowMs),
    pinned: noticePinned(view),
    letGo: noticeLetGo(view),
    skipped: noticeSkipped(view),
    strangers: noticeStrangers(view),
    wantedUntil: noticeWanted(view),
    idleSince: noticeIdle(view),
    awaySince: noticeAway(view),
    everFound: new Set(
      [...memory.everFound, ...world.found.flatMap(({ identity }) => identity?.id ?? [])].slice(-maxFound),
    ),
    roomSinceMs,
  };
}

function noticeImages(view: View): Map<string, ImageMemory> {
  const { nowMs, desired, memory } = view;
  return new Map(
    desired.map((image) => {
      const before = memory.images.get(image.name);
      const digest = image.wanted?.digest;
      const isWarmNow = isWarm(view, image);
      const isLost = before?.isWarm === true && !isWarmNow && before.digest === digest && isTakenAway(view, image);
      const recent = (before?.lostAtMs ?? []).filter((lostMs) => nowMs - lostMs < lossWindowMs);
      const lostAtMs = isLost ? [...recent, nowMs].slice(-rememberedLosses) : recent;
      const disappearances = (before?.disappearances ?? 0) + Number(isLost);
      return [image.name, { digest, isWarm: isWarmNow, lostAtMs, disappearances }];
    }),
  );
}

/** Not by ourselves for space, and not with its disk. */
function isTakenAway(view: View, { wanted }: DesiredImage): boolean {
  const { injected, found } = view;
  if (wanted === undefined || isEvicted(view, { wanted })) return false;
  const holders = injected.filter(({ images }) => images.some(({ digest }) => digest === wanted.digest));
  return holders.every((status) => awayOf(status, found) === undefined);
}

function noticeStrangers({ nowMs, desired, records, memory }: View): Memory["strangers"] {
  const strangers = new Map<string, { digest: Digest; sinceMs: number }>();
  for (const { name, sets, wanted } of desired) {
    const record = records.get(name);
    if (sets.length === 0 || wanted?.from !== "registry" || record?.origin.from !== "elsewhere") continue;
    if (record.digest === wanted.digest) continue;
    const before = memory.strangers.get(name);
    const isSame = before?.digest === record.digest;
    strangers.set(name, isSame ? before : { digest: record.digest, sinceMs: nowMs });
  }
  return strangers;
}

/** Only those whose pin does not show: one that did and is gone, as after a pull that set the record anew, is set again. */
function noticePinned({ memory, desired, records }: View): Memory["pinned"] {
  const listed = desired.filter(({ sets }) => sets.length > 0);
  const unseen = listed.flatMap(({ name, wanted }) =>
    wanted !== undefined && records.get(name)?.isPinned === false ? [`${name}@${wanted.digest}`] : [],
  );
  return memory.pinned.intersection(new Set(unseen));
}

/** One that is wanted again, and then not, is let go of again. */
function noticeLetGo({ memory, desired, observation }: View): Memory["letGo"] {
  const wanted = new Set(desired.map(({ name }) => name));
  const pinned = observation.images.filter(({ name, isPinned }) => isPinned && !wanted.has(name));
  return memory.letGo.intersection(new Set(pinned.map(({ name, digest }) => `${name}@${digest}`)));
}

/** Of disks that are there still. */
function noticeSkipped({ memory, usableById }: View): Memory["skipped"] {
  return new Set([...memory.skipped].filter((each) => usableById.has(each.slice(0, each.indexOf(" ")))));
}

function noticeWanted(view: View): Memory["wantedUntil"] {
  const until = filtered(view.memory.wantedUntil, (name) => view.records.has(name));
  for (const { name } of view.desired) until.set(name, view.nowMs);
  for (const [digest, images] of needers(view))
    for (const image of images) until.set(digestName(image, digest), view.nowMs);
  return until;
}

function noticeIdle({ nowMs, observation, memory }: View): Memory["idleSince"] {
  const idle = new Map<Digest, number>();
  for (const [digest, { users }] of observation.contents)
    if (users.length === 0) idle.set(digest, memory.idleSince.get(digest) ?? nowMs);
  return idle;
}

function noticeAway({ nowMs, injected, found, usableById, memory }: View): Memory["awaySince"] {
  const away = new Map<string, number>();
  for (const status of injected) {
    const isRelied = usableById.has(status.id) && troubleOf(status) === undefined;
    if (isRelied || awayOf(status, found) === undefined) continue;
    away.set(status.id, memory.awaySince.get(status.id) ?? nowMs);
  }
  return away;
}

function filtered<Key, Value>(
  map: ReadonlyMap<Key, Value>,
  keeps: (key: Key, value: Value) => boolean,
): Map<Key, Value> {
  return new Map([...map].filter(([key, value]) => keeps(key, value)));
}
