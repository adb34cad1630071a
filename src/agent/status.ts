import type { Digest } from "../oci/descriptor.ts";
import type { FetchProgress } from "../runtime/image-keeper.ts";
import type { Condition, User } from "../runtime/runtime.ts";

/**
 * `Pending`: its turn comes. `Resolving`: the registry is asked for the digest. `Held`: waits for something that the reason names. `Failed`:
 * tried again later.
 */
export type ImagePhase = "Pending" | "Resolving" | "Injecting" | "Fetching" | "Warm" | "Held" | "Failed";

/**
 * `Refused`, `Broken`: see the reason. `Waiting`: about to be injected. `Replaced`: a newer one is injected, and something still stands on
 * this one. `Away`: injected, and not to be found or to be read. `Held`: ejected by a person. `Released`: nothing holds it.
 */
export type DiskPhase =
  | "Checking"
  | "Refused"
  | "Broken"
  | "Waiting"
  | "Injecting"
  | "Injected"
  | "Replaced"
  | "Away"
  | "Ejecting"
  | "Held"
  | "Released";

export type ImageStatus = {
  readonly name: string;
  readonly phase: ImagePhase;
  /** How long it has been in this phase: of a warm image, how long it has been warm. */
  readonly phaseSeconds: number;
  /** How old the image is that its digest stands for, by its own config; left out where that does not say, or the node's clock is wrong. */
  readonly ageSeconds?: number;
  /** How long ago the registry said which digest its tag has; left out where it has not since the agent started. */
  readonly resolvedSeconds?: number;
  /** Why it is not warm, for a person. Empty when it is. */
  readonly reason: string;
  /** What the name is to stand for. */
  readonly digest?: Digest;
  /** Where what the node has is from. */
  readonly source?: "disk" | "registry" | "node";
  /** Id of that disk. */
  readonly disk?: string;
  readonly sets: readonly string[];
  readonly gate: boolean;
  readonly priority: number;
  readonly progress?: FetchProgress;
  readonly lastError?: string;
  readonly retryInSeconds?: number;
  /** How often others took it away since the agent started. */
  readonly disappearances: number;
  readonly heldBy: readonly User[];
  readonly conditions: readonly Condition[];
};

export type AgentDiskStatus = {
  readonly path: string;
  readonly phase: DiskPhase;
  readonly reason: string;
  readonly id?: string;
  readonly line?: string;
  readonly sequence?: number;
  /** Of a disk that is being verified, from 0 to 1. */
  readonly checkedShare?: number;
  /** Nothing in any mount namespace holds it. */
  readonly isSafeToDetach: boolean;
  readonly heldBy: readonly User[];
  readonly conditions: readonly Condition[];
};

export type SetStatus = {
  readonly name: string;
  readonly isSelected: boolean;
  readonly images: number;
  readonly warm: number;
  readonly conditions: readonly Condition[];
};

export type GateStatus = {
  /** Workloads may come. Stays so until the agent starts again. */
  readonly isReady: boolean;
  /** What is waited for, or what it was that made it ready. */
  readonly reason: string;
};

/** What an agent tells of itself; plain data. */
export type AgentStatus = {
  readonly runtime: string;
  readonly images: readonly ImageStatus[];
  readonly disks: readonly AgentDiskStatus[];
  readonly sets: readonly SetStatus[];
  readonly gate: GateStatus;
  readonly conditions: readonly Condition[];
};
