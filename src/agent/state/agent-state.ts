import type { Digest } from "../../oci/descriptor.ts";

/** What the agent knows and could not find out again at once; everything else it observes. Losing it costs requests, never correctness. */
export type AgentRecord = {
  /** By normalised name: what is wanted of a listed tag, as it was last known. */
  readonly tags: Readonly<Record<string, KnownTag>>;
  /** Ids of disks that a person ejected: not injected again until told. */
  readonly holds: readonly string[];
  /** Ids of disks that a person injected by hand, and from where. */
  readonly byHand: Readonly<Record<string, { readonly path: string }>>;
  /** Disks whose bytes were verified, by id. */
  readonly seenDisks: Readonly<Record<string, SeenDisk>>;
};

/** Digest of a tag. */
export type KnownTag = {
  readonly digest: Digest;
  /** Unix seconds, for people only: clocks may be wrong. */
  readonly atSeconds: number;
  /** The disk that said so: a newer one of the line may change it. Else it was the registry, or the record that the node had. */
  readonly disk?: { readonly line: string; readonly sequence: number };
};

/** What a disk was when it was read in full: any difference, and it is read again. `ctimeNs` as decimal digits. */
export type SeenDisk = {
  readonly path: string;
  readonly device: string;
  readonly inode: string;
  readonly sizeBytes: number;
  readonly ctimeNs: string;
};

/** The state folder of one agent. */
export interface AgentState {
  /** As it is in memory; `open` read it. */
  readonly record: AgentRecord;
  /** Changes it; resolves when the change is durable. Throws `AgentError` `no-space`, and the change holds in memory all the same. */
  change(edit: (record: AgentRecord) => AgentRecord): Promise<void>;
  close(): Promise<void>;
}
