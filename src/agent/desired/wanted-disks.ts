import type { Digest } from "../../oci/descriptor.ts";
import type { NodeContent } from "../../runtime/image-keeper.ts";
import type { DiskStatus } from "../../runtime/runtime.ts";
import type { DiskIdentity, FoundDisk } from "../disks/disk-finder.ts";
import type { AgentRecord } from "../state/agent-state.ts";

/** A disk that may be injected, or that a person has injected. */
export type UsableDisk = DiskIdentity & {
  readonly path: string;
  /** Whether it is wanted with all its images; else only with those that are listed, or that a person named. */
  readonly isWhole: boolean;
  /** Normalised names that a person injected. */
  readonly byHand: readonly string[];
  /** Id of the newer disk of its line and trust entry, where there is one. */
  readonly replacedBy: string | undefined;
  /** Its bytes are being verified again while it is injected: what it gives stays, and nothing more is taken from it. */
  readonly isChecking: boolean;
};

export type DiskFacts = {
  readonly found: readonly FoundDisk[];
  readonly injected: readonly DiskStatus[];
  /** What the node has of each digest. */
  readonly contents: ReadonlyMap<Digest, Pick<NodeContent, "isWarm">>;
  readonly record: Pick<AgentRecord, "holds" | "byHand">;
  readonly inject: "All" | "Listed";
};

/**
 * The disks that images may come from: those that are trusted and not held, each id once, and those injected by hand; newest first. A disk
 * that a newer one replaces is wanted only for what is listed and nowhere else.
 */
export function usableDisks({ found, injected, contents, record, inject }: DiskFacts): readonly UsableDisk[] {
  const held = new Set(record.holds);
  const sources = new Map(injected.filter(({ isMounted }) => isMounted).map(({ id, source }) => [id, source]));
  const byId = new Map<string, PresentDisk>();
  for (const { state, identity, path, trustEntry, isAltered } of found) {
    if (identity === undefined || held.has(identity.id)) continue;
    const isInjected = sources.get(identity.id) === path;
    // A new owner or mode is enough to have a file verified again: that takes its images from nobody.
    if (state !== "trusted" && !(state === "checking" && isInjected && isAltered !== true)) continue;
    // Of copies, the one that the runtime uses already, unless that is in doubt.
    const before = byId.get(identity.id);
    if (before !== undefined && !before.isChecking && !(isInjected && state === "trusted")) continue;
    byId.set(identity.id, { identity, path, entry: trustEntry, isChecking: state === "checking" });
  }
  const trusted = [...byId.values()];
  const disks = trusted.map(({ identity, path, entry, isChecking }): UsableDisk => {
    const given = Object.hasOwn(record.byHand, identity.id) ? record.byHand[identity.id] : undefined;
    const newer = trusted
      .filter((other) => other.entry === entry && other.identity.line === identity.line)
      .filter((other) => other.identity.sequence > identity.sequence)
      .sort((a, b) => newestFirst(a.identity, b.identity))[0];
    const replacedBy = given === undefined ? newer?.identity.id : undefined;
    const isGivenWhole = given !== undefined && given.images === undefined;
    const isWhole = isGivenWhole || (inject === "All" && replacedBy === undefined);
    return { ...identity, path, isWhole, byHand: given?.images ?? [], replacedBy, isChecking };
  });
  for (const status of injected) {
    const given = Object.hasOwn(record.byHand, status.id) ? record.byHand[status.id] : undefined;
    if (given === undefined || byId.has(status.id) || held.has(status.id) || isDead(status, contents)) continue;
    const { id, line, sequence, images } = status;
    disks.push({
      id,
      line,
      sequence,
      images,
      createdSeconds: 0,
      path: given.path,
      isWhole: given.images === undefined,
      byHand: given.images ?? [],
      replacedBy: undefined,
      isChecking: false,
    });
  }
  return disks.sort(newestFirst);
}

type PresentDisk = Pick<UsableDisk, "path" | "isChecking"> & {
  readonly identity: DiskIdentity;
  readonly entry: string;
};

/** Whether nothing of an injected disk can be started: it is not mounted, or its bytes are gone. */
export function isDead({ isMounted, images }: DiskStatus, contents: DiskFacts["contents"]): boolean {
  return !isMounted || (images.length > 0 && images.every(({ digest }) => contents.get(digest)?.isWarm === false));
}

type Age = Pick<DiskIdentity, "id" | "line" | "sequence" | "createdSeconds">;

/** Of one line by sequence; of several by their time, which clocks may have wrong, then by id, so that all nodes agree. */
export function newestFirst(a: Age, b: Age): number {
  if (a.line === b.line && a.sequence !== b.sequence) return b.sequence - a.sequence;
  return b.createdSeconds - a.createdSeconds || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}
