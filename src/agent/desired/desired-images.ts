import type { Digest } from "../../oci/descriptor.ts";
import { parseReference, type Reference } from "../../oci/reference.ts";
import type { NodeImage } from "../../runtime/image-keeper.ts";
import type { DiskStatus } from "../../runtime/runtime.ts";
import type { AgentRecord } from "../state/agent-state.ts";
import { byUrgency, type ListedImage } from "./listed-images.ts";
import { type DigestFacts, digestOnDisk, type WantedDigest, wishOfTag } from "./wanted-digest.ts";
import type { UsableDisk } from "./wanted-disks.ts";

/** An image that this node is to have, under one name. */
export type DesiredImage = {
  readonly name: string;
  readonly reference: Reference;
  readonly gate: boolean;
  readonly priority: number;
  readonly refresh: number | "Never";
  /** Sets that list it; none for an image that is wanted because it lies on a disk. */
  readonly sets: readonly string[];
  /** `undefined` until the registry was asked. */
  readonly wanted: WantedDigest | undefined;
  /** Usable disks that hold the wanted digest, best first. */
  readonly disks: readonly UsableDisk[];
  /** What the registry says now: it is fetched while the name stays what it is. */
  readonly next?: Digest;
  /** The wanted digest is known from the registry alone. */
  readonly isOnlyTold?: boolean;
};

export type DesiredFacts = {
  readonly listed: readonly ListedImage[];
  /** Newest first. */
  readonly disks: readonly UsableDisk[];
  readonly injected: readonly DiskStatus[];
  readonly images: readonly NodeImage[];
  readonly tags: AgentRecord["tags"];
  /** By name: what the registry said last. */
  readonly told: ReadonlyMap<string, { readonly digest: Digest }>;
  /** Whether a disk that holds an image can be expected to give it. */
  readonly isGiving: (disk: UsableDisk, digest: Digest) => boolean;
} & Pick<DigestFacts, "isWarm" | "isStuck" | "isMissing">;

/** All images that are listed, lie on a disk that is wanted whole, or were injected by hand; the most urgent first. */
export function desiredImages(facts: DesiredFacts): readonly DesiredImage[] {
  const { listed, disks, injected, images, tags, told, isWarm, isStuck, isMissing, isGiving } = facts;
  const isOnDisk = (digest: Digest) => (holders.get(digest) ?? []).some((disk) => isGiving(disk, digest));
  const records = new Map(images.map((image) => [image.name, image]));
  const holders = holdersByDigest(disks);
  const wanted = listed.map((image): DesiredImage => {
    const { name } = image;
    const known = Object.hasOwn(tags, name) ? tags[name] : undefined;
    const record = records.get(name);
    const ofTag = { known, told: told.get(name)?.digest, isWarm, isStuck, isMissing, isOnDisk };
    const { wanted: digest, next, isOnlyTold } = wishOfTag(image, { ...ofTag, record, disks, injected });
    return {
      ...image,
      wanted: digest,
      disks: (digest && holders.get(digest.digest)) ?? [],
      ...(next && { next }),
      isOnlyTold,
    };
  });
  const names = new Set(listed.map(({ name }) => name));
  for (const disk of disks) {
    if (!disk.isWhole && disk.byHand.length === 0) continue;
    for (const { names: ofImage, digest } of disk.images) {
      for (const name of ofImage) {
        if (names.has(name) || !(disk.isWhole || disk.byHand.includes(name))) continue;
        names.add(name);
        const reference = readName(name);
        if (reference !== undefined) wanted.push(onDiskOnly(name, reference, digest, disk, holders));
      }
    }
  }
  return wanted.sort(byUrgency);
}

function onDiskOnly(
  name: string,
  reference: Reference,
  digest: Digest,
  disk: UsableDisk,
  holders: ReadonlyMap<Digest, UsableDisk[]>,
): DesiredImage {
  const { line, sequence } = disk;
  return {
    name,
    reference,
    gate: false,
    priority: 0,
    refresh: "Never",
    sets: [],
    wanted: { digest, from: "disk", disk: { line, sequence } },
    disks: (holders.get(digest) ?? []).filter((holder) => digestOnDisk(holder, name) === digest),
  };
}

/** What a disk calls an image is from outside: a name that is none stands for nothing. */
function readName(name: string): Reference | undefined {
  try {
    return parseReference(name);
  } catch {
    return undefined;
  }
}

/** Disks that are not replaced come first, then newer ones: so a replaced disk is used only for what it alone has. */
function holdersByDigest(disks: readonly UsableDisk[]): ReadonlyMap<Digest, UsableDisk[]> {
  const holders = new Map<Digest, UsableDisk[]>();
  const ordered = [...disks].sort((a, b) => Number(a.replacedBy !== undefined) - Number(b.replacedBy !== undefined));
  for (const disk of ordered) {
    for (const { digest } of disk.images) {
      const list = holders.get(digest) ?? [];
      if (!list.includes(disk)) holders.set(digest, [...list, disk]);
    }
  }
  return holders;
}
