import type { Digest } from "../../oci/descriptor.ts";
import type { Condition } from "../../runtime/runtime.ts";

/**
 * What the agent of one runtime knows and could not find out again at once; everything else it observes. Losing it costs requests, never
 * correctness.
 */
export type RuntimeRecord = {
  /** By normalised name: the last digest of a listed tag that this runtime had, or that is wanted for want of such a one. */
  readonly tags: Readonly<Record<string, KnownTag>>;
  /** Ids of disks that a person ejected: not injected again until told. */
  readonly holds: readonly string[];
  /** Ids of disks that a person injected by hand, from where, and which images; all where that is left out. */
  readonly byHand: Readonly<Record<string, { readonly path: string; readonly images?: readonly string[] }>>;
  /** By digest: images that were given up for space, and when: Unix seconds, for people only. */
  readonly evicted: Readonly<Record<string, { readonly atSeconds: number }>>;
};

/** What is known of disks, whichever runtime they are injected into. */
export type DiskRecord = {
  /** Disks whose bytes were verified, by id; the same disk may lie in more than one place. */
  readonly seenDisks: Readonly<Record<string, readonly SeenDisk[]>>;
  /**
   * Disks that were put into a root file system, by id: what a disk was then is not what it is once that has been copied. The first sound
   * file of this size at this path becomes a seen disk without being read in full.
   */
  readonly seededDisks: Readonly<Record<string, { readonly path: string; readonly sizeBytes: number }>>;
};

/** All that one agent knows. */
export type AgentRecord = RuntimeRecord & DiskRecord;

/** All that the agents of a node know. */
export type NodeRecord = DiskRecord & {
  /** By runtime: a text that stays the same when the runtime is restarted or upgraded. */
  readonly runtimes: Readonly<Record<string, RuntimeRecord>>;
  /** What was noted before runtimes were told apart: it holds for each that has no record of its own. */
  readonly unassigned?: RuntimeRecord;
};

/** Digest of a tag. */
export type KnownTag = {
  readonly digest: Digest;
  /** Unix seconds, for people only: clocks may be wrong. */
  readonly atSeconds: number;
  /** The disk that said so: a newer one of its line may change it. Else it was the registry, or the record that the node had. */
  readonly disk?: { readonly line: string; readonly sequence: number };
};

/** What a disk was when it was read in full: any difference, and it is read again. `inode` and `ctimeNs` as decimal digits. */
export type SeenDisk = {
  readonly path: string;
  readonly device: string;
  readonly inode: string;
  readonly sizeBytes: number;
  readonly ctimeNs: string;
};

export const emptyRuntimeRecord: RuntimeRecord = { tags: {}, holds: [], byHand: {}, evicted: {} };

/** That of an agent which knows nothing. */
export const emptyRecord: AgentRecord = { ...emptyRuntimeRecord, seenDisks: {}, seededDisks: {} };

export const emptyNodeRecord: NodeRecord = { runtimes: {}, seenDisks: {}, seededDisks: {} };

/** What is remembered over restarts. */
export interface State<Kept> {
  /** As it is in memory. Frozen by convention: `change` replaces it. */
  readonly record: Kept;
  /** What is wrong now with where it is kept: `StateDamaged`, `StateMissing`, `StateNotDurable`. */
  readonly conditions: readonly Condition[];
  /**
   * Changes it at once in memory; resolves when the change is durable. Changes that come while one is written are written together. Throws
   * `AgentError` `no-space`, or `state-unusable` for any other failure, and the change holds in memory all the same; it is tried again
   * later. What `edit` throws is thrown, and nothing has changed.
   */
  change(edit: (record: Kept) => Kept): Promise<void>;
}

/** That of one agent. */
export type AgentState = State<AgentRecord>;

/** That of a node; agents share it. */
export type NodeState = State<NodeRecord>;

/** The part of either that tells of disks. */
export interface DiskMemory {
  readonly record: DiskRecord;
  /** As `State.change`. */
  change(edit: <Kept extends DiskRecord>(record: Kept) => Kept): Promise<void>;
}
