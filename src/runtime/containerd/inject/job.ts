import type { InjectOptions, OpenDisk } from "../../runtime.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { OwnedSnapshot, OwnedState } from "../owned-state.ts";
import type { DiskDocuments } from "./disk-documents.ts";
import type { Meter } from "./meter.ts";

/** Called before each change, with what it is; tests end the process there. */
export type AtStep = (step: string) => void;

/** One injection under way. */
export type InjectJob = {
  readonly node: ContainerdNode;
  /** The namespace, under the lease of the phase. */
  readonly leased: NamespaceClient;
  readonly open: OpenDisk;
  readonly options: InjectOptions;
  /** As it was when the injection began. */
  readonly state: OwnedState;
  /** Of the disk, verified. */
  readonly documents: DiskDocuments;
  readonly carrier: OwnedSnapshot;
  /** Before the carrier is committed, no snapshot that leads through it is: a lost one's number is given to another snapshot. */
  readonly carried: Promise<void>;
  /** Ids of other disks from which nothing can be started. */
  readonly away: ReadonlySet<string>;
  readonly meter: Meter;
  readonly atStep: AtStep;
};

/** The same before the disk has its carrier. */
export type JobPlace = Omit<InjectJob, "carrier" | "carried" | "away">;
