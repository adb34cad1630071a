import type { EjectEvent, EjectReport, InjectEvent, InjectReport } from "../../runtime/runtime.ts";
import type { AgentStatus } from "../status.ts";

/** A disk to be injected by hand, which it then stays until somebody ejects it. */
export type InjectRequest = {
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
  /** Ids; all that are injected when left out. */
  readonly disks?: readonly string[];
  readonly wait: boolean;
  readonly materialize: boolean;
};

/** What came of the work in one runtime. */
export type RuntimeOutcome<Report> =
  | { readonly runtime: string; readonly report: Report }
  | { readonly runtime: string; readonly error: string };

export type ControlOptions<Event> = {
  /** The one who asked has gone, or the agent stops. */
  readonly signal: AbortSignal;
  readonly onEvent?: (runtime: string, event: Event) => void;
};

/** What a person can ask of a running agent. Throws what the work throws where it could not be begun in any runtime. */
export interface AgentControl {
  /** One for each runtime of the node. */
  status(): readonly AgentStatus[];
  inject(
    request: InjectRequest,
    options: ControlOptions<InjectEvent>,
  ): Promise<readonly RuntimeOutcome<InjectReport>[]>;
  eject(request: EjectRequest, options: ControlOptions<EjectEvent>): Promise<readonly RuntimeOutcome<EjectReport>[]>;
}
