import type { Digest } from "../../oci/descriptor.ts";

/** What the agent knows and could not find out again at once; everything else it observes. Losing it costs requests, never correctness. */
export type AgentRecord = {
  /** By normalised name: what the registry last said. `atSeconds`: Unix seconds, for people only: clocks may be wrong. */
  readonly tags: Readonly<Record<string, { readonly digest: Digest; readonly atSeconds: number }>>;
  /** Ids of disks that a person ejected: not injected again until told. */
  readonly holds: readonly string[];
  /** Ids of disks that a person injected by hand, and from where. */
  readonly byHand: Readonly<Record<string, { readonly path: string }>>;
  /** Disks whose bytes were verified, by id. */
  readonly seenDisks: Readonly<Record<string, SeenDisk>>;
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
