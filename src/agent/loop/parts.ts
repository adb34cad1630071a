import type { ImageKeeper } from "../../runtime/image-keeper.ts";
import type { OpenDisk, Runtime } from "../../runtime/runtime.ts";
import type { Configuration, ConfigurationSource } from "../config/configuration.ts";
import type { DiskFinder } from "../disks/disk-finder.ts";
import type { DiskHolders } from "../disks/disk-holders.ts";
import type { Log } from "../log-line.ts";
import type { ImageResolver } from "../refresh/image-resolver.ts";
import type { PressureGauge } from "../space/pressure-gauge.ts";
import type { SpaceGauge } from "../space/space-gauge.ts";
import type { AgentState } from "../state/agent-state.ts";
import type { Clock } from "./clock.ts";

/** What an agent is made of. It closes none of them. */
export type AgentParts = {
  readonly configuration: ConfigurationSource;
  readonly runtime: Runtime;
  /** Of the same runtime. */
  readonly keeper: ImageKeeper;
  readonly disks: DiskFinder;
  /** Opens a disk that a person names, wherever it is. */
  readonly openByHand: (path: string) => Promise<OpenDisk>;
  readonly holders: DiskHolders;
  readonly resolver: ImageResolver;
  readonly state: AgentState;
  readonly space: SpaceGauge;
  readonly pressure: PressureGauge;
  readonly clock: Clock;
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly log: Log;
  /** Told before a configuration is acted on, so that parts of the agent can follow it. */
  readonly onConfiguration?: (configuration: Configuration) => void;
};
