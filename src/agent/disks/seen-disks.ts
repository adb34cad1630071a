import type { DiskRecord, SeenDisk } from "../state/agent-state.ts";
import { sameStamp } from "./disk-stamp.ts";

/** Of one disk and of all: what is beyond is read again when it is found. */
const maxPlaces = 4;
const maxDisks = 512;

/** Whether these bytes were verified when they were what they are now. */
export function isSeen({ seenDisks }: DiskRecord, id: string, stamp: SeenDisk): boolean {
  return (own(seenDisks, id) ?? []).some((seen) => sameStamp(seen, stamp));
}

/** Whether this is the file that was put into the root file system and not used since. */
export function isSeeded({ seededDisks }: DiskRecord, id: string, { path, sizeBytes }: SeenDisk): boolean {
  const seeded = own(seededDisks, id);
  return seeded?.path === path && seeded.sizeBytes === sizeBytes;
}

export function withSeen<Kept extends DiskRecord>(record: Kept, id: string, stamp: SeenDisk): Kept {
  const { [id]: before = [], ...others } = record.seenDisks;
  const places = [stamp, ...before.filter(({ path }) => path !== stamp.path)].slice(0, maxPlaces);
  const kept = Object.entries(others).slice(-(maxDisks - 1));
  const { [id]: _, ...seededDisks } = record.seededDisks;
  return { ...record, seenDisks: { ...Object.fromEntries(kept), [id]: places }, seededDisks };
}

/** Without what was at a place that is empty now. */
export function withoutPlace<Kept extends DiskRecord>(record: Kept, id: string, path: string): Kept {
  const { [id]: before = [], ...others } = record.seenDisks;
  const places = before.filter((seen) => seen.path !== path);
  return { ...record, seenDisks: places.length === 0 ? others : { ...others, [id]: places } };
}

function own<T>(members: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(members, key) ? members[key] : undefined;
}
