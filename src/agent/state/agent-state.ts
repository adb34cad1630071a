import type { Digest } from "../../oci/descriptor.ts";
import type { Condition } from "../../runtime/runtime.ts";

/** What the agent knows and could not find out again at once; everything else it observes. Losing it costs requests, never correctness. */
export type AgentRecord = {
  /** By normalised name: what is wanted of a listed tag, as it was last known. */
  readonly tags: Readonly<Record<string, KnownTag>>;
  /** Ids of disks that a person ejected: not injected again until told. */
  readonly holds: readonly string[];
  /** Ids of disks that a person injected by hand, from where, and which images; all where that is left out. */
  readonly byHand: Readonly<Record<string, { readonly path: string; readonly images?: readonly string[] }>>;
  /** Disks whose bytes were verified, by id; the same disk may lie in more than one place. */
  readonly seenDisks: Readonly<Record<string, readonly SeenDisk[]>>;
  /**
   * Disks that were put into a root file system, by id: what a disk was then is not what it is once that has been copied. The first sound
   * file of this size at this path becomes a seen disk without being read in full.
   */
  readonly seededDisks: Readonly<Record<string, { readonly path: string; readonly sizeBytes: number }>>;
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

/** That of an agent which knows nothing. */
export const emptyRecord: AgentRecord = { tags: {}, holds: [], byHand: {}, seenDisks: {}, seededDisks: {} };

/** The state folder of one agent. */
export interface AgentState {
  /** As it is in memory; `open` read it. Frozen by convention: `change` replaces it. */
  readonly record: AgentRecord;
  /** What is wrong with the folder now: `StateDamaged`, `StateMissing`, `StateNotDurable`. */
  readonly conditions: readonly Condition[];
  /**
   * Changes it at once in memory; resolves when the change is durable. Changes that come while one is written are written together. Throws
   * `AgentError` `no-space`, or `state-unusable` for any other failure, and the change holds in memory all the same; it is tried again
   * later. What `edit` throws is thrown, and nothing has changed.
   */
  change(edit: (record: AgentRecord) => AgentRecord): Promise<void>;
  /** Waits for what is being written, and lets another agent have the folder. May be called twice. */
  close(): Promise<void>;
}
