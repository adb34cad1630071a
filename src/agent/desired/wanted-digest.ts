import type { Digest } from "../../oci/descriptor.ts";
import type { NodeImage } from "../../runtime/image-keeper.ts";
import type { DiskStatus } from "../../runtime/runtime.ts";
import type { DiskIdentity } from "../disks/disk-finder.ts";
import type { KnownTag } from "../state/agent-state.ts";
import type { ListedImage } from "./listed-images.ts";

export type WantedDigest = {
  readonly digest: Digest;
  /** Who says so. */
  readonly from: "reference" | "registry" | "node" | "disk";
  readonly disk?: { readonly line: string; readonly sequence: number };
};

export type DigestFacts = {
  readonly known: KnownTag | undefined;
  /** What the registry said last, since the agent started. */
  readonly told: Digest | undefined;
  /** Whether a container can be started of it. */
  readonly isWarm: (digest: Digest) => boolean;
  /** Whether a disk gives it: that the registry cannot get wrong. */
  readonly isOnDisk: (digest: Digest) => boolean;
  /** Whether what the registry says is not to be had now, or is not to be fetched because what was known was given up for space. */
  readonly isStuck: (told: Digest, known: Digest) => boolean;
  /** Whether the registry was asked for it, and does not have it. */
  readonly isMissing: (digest: Digest) => boolean;
  /** The node's record of the name. */
  readonly record: NodeImage | undefined;
  /** Disks that may be used, newest first. */
  readonly disks: readonly DiskIdentity[];
  readonly injected: readonly DiskStatus[];
};

/** What a listed name is to stand for. */
export type TagWish = {
  /** `undefined` until the registry was asked. */
  readonly wanted: WantedDigest | undefined;
  /** What the registry says now, where the name stays what it is until that is warm: a registry may name what it does not give. */
  readonly next?: Digest;
  /** Nothing but the registry gives the name a digest. */
  readonly isOnlyTold: boolean;
};

/**
 * Of a tag, what the registry says now, as soon as the node or a disk has that, or while the node has nothing else; until then what is known else,
 * and that again where the registry does not give what it says.
 */
export function wishOfTag(image: Pick<ListedImage, "name" | "reference" | "refresh">, facts: DigestFacts): TagWish {
  const { told } = facts;
  const known = knownDigest(image, facts);
  if (known === undefined)
    return { wanted: told && { digest: told, from: "registry" }, isOnlyTold: told !== undefined };
  if (told === undefined || known.from === "reference") return { wanted: known, isOnlyTold: false };
  if (image.refresh === "Never")
    return { wanted: isNowhere(known.digest, facts) ? { digest: told, from: "registry" } : known, isOnlyTold: false };
  const isThere = told === known.digest || facts.isWarm(told) || facts.isOnDisk(told);
  if (!isThere && (facts.isWarm(known.digest) || facts.isStuck(told, known.digest)))
    return { wanted: known, next: told, isOnlyTold: false };
  return { wanted: { digest: told, from: "registry" }, isOnlyTold: false };
}

/** Nothing gives it any more, or a registry has named it that never had it. */
function isNowhere(digest: Digest, { isMissing, isWarm, isOnDisk }: DigestFacts): boolean {
  return isMissing(digest) && !isWarm(digest) && !isOnDisk(digest);
}

/**
 * The digest that a listed name had last, or is to have though the registry says nothing. A tag: the last good one that the registry named; else
 * what the node's record says; else the newest disk. With `Never`, and where the registry has said nothing, a newer disk of the same line
 * changes it.
 */
function knownDigest(
  image: Pick<ListedImage, "name" | "reference" | "refresh">,
  facts: DigestFacts,
): WantedDigest | undefined {
  const { reference, name } = image;
  if (reference.digest !== undefined) return { digest: reference.digest, from: "reference" };
  const base = fromState(facts.known) ?? fromNode(facts) ?? fromDisk(facts.disks, name);
  if (base === undefined) return undefined;
  if (base.from === "registry" && image.refresh !== "Never") return base;
  return newerOfLine(base, name, facts) ?? base;
}

/** By name, for lists of images that were asked about: a disk may hold thousands. */
const namesOfImages = new WeakMap<DiskIdentity["images"], ReadonlyMap<string, Digest>>();

/** The digest that a disk gives a name. */
export function digestOnDisk({ images }: Pick<DiskIdentity, "images">, name: string): Digest | undefined {
  let digests = namesOfImages.get(images);
  if (digests === undefined) {
    // The first image that has a name keeps it.
    const entries = images.flatMap(({ names, digest }) => names.map((each) => [each, digest] as const));
    digests = new Map(entries.reverse());
    namesOfImages.set(images, digests);
  }
  return digests.get(name);
}

function fromState(known: KnownTag | undefined): WantedDigest | undefined {
  if (known === undefined) return undefined;
  const { digest, disk } = known;
  return disk === undefined ? { digest, from: "registry" } : { digest, from: "disk", disk };
}

function fromNode({ record, disks, injected }: DigestFacts): WantedDigest | undefined {
  if (record === undefined) return undefined;
  const { digest, origin } = record;
  if (origin.from !== "disk") return { digest, from: "node" };
  const disk = [...disks, ...injected].find(({ id }) => id === origin.disk);
  return { digest, from: "node", ...(disk && { disk: lineOf(disk) }) };
}

function fromDisk(disks: readonly DiskIdentity[], name: string): WantedDigest | undefined {
  for (const disk of disks) {
    const digest = digestOnDisk(disk, name);
    if (digest !== undefined) return { digest, from: "disk", disk: lineOf(disk) };
  }
  return undefined;
}

/** What the newest disk says that is of the line of one which gives the name this digest, and newer than that. */
function newerOfLine(base: WantedDigest, name: string, { disks, injected }: DigestFacts): WantedDigest | undefined {
  const holders = [...disks, ...injected].filter((disk) => digestOnDisk(disk, name) === base.digest).map(lineOf);
  const olders = base.disk === undefined ? holders : [base.disk, ...holders];
  const sequences = new Map<string, number>();
  for (const { line, sequence } of olders) sequences.set(line, Math.max(sequence, sequences.get(line) ?? 0));
  const newer = disks.filter(({ line, sequence }) => sequence > (sequences.get(line) ?? Number.POSITIVE_INFINITY));
  return fromDisk(newer, name);
}

function lineOf({ line, sequence }: { readonly line: string; readonly sequence: number }) {
  return { line, sequence };
}
