import type { DiskStatus, EjectEvent, EjectReport, InjectEvent, InjectReport } from "../../runtime/runtime.ts";
import type { AgentStatus } from "../status.ts";

/** A disk to be injected by hand, which it then stays until somebody ejects it. */
export type InjectRequest = {
  /** Name of one of the runtimes that `status` tells of. */
  readonly runtime: string;
  /** Absolute. */
  readonly path: string;
  /** Normalised references; all of the disk when left out. */
  readonly images?: readonly string[];
  readonly handlers: "all" | "default-only";
  readonly force: boolean;
  /** False: returns when the images are usable; the chains below them follow. */
  readonly chains: boolean;
};

/** Disks that are ejected, and held until somebody injects them again. */
export type EjectRequest = {
  readonly runtime: string;
  readonly disks: readonly string[];
  readonly wait: boolean;
  readonly materialize: boolean;
};

export type ControlOptions<Event> = {
  /** The one who asked has gone, or the agent stops. */
  readonly signal: AbortSignal;
  readonly onEvent?: (event: Event) => void;
};

/** What a person can ask of a running agent. Throws what the work throws; `AgentError` `not-found` for a runtime that it does not have. */
export interface AgentControl {
  /** One for each runtime of the node. */
  status(): readonly AgentStatus[];
  /** What is injected, as `Runtime.status`. */
  disks(runtime: string, options: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]>;
  inject(request: InjectRequest, options: ControlOptions<InjectEvent>): Promise<InjectReport>;
  eject(request: EjectRequest, options: ControlOptions<EjectEvent>): Promise<EjectReport>;
}
