import type { AgentStatus, GateStatus } from "../status.ts";
import type { ServiceManager } from "./service-manager.ts";

export type NodeReportOptions = {
  /** One for each runtime; none while no runtime was found. */
  readonly statuses: () => readonly AgentStatus[];
  readonly manager: ServiceManager;
};

/** What the node as a whole says of itself: to probes and to the service manager. */
export class NodeReport {
  readonly #statuses: NodeReportOptions["statuses"];
  readonly #manager: ServiceManager;
  #wasReady = false;

  constructor({ statuses, manager }: NodeReportOptions) {
    this.#statuses = statuses;
    this.#manager = manager;
    manager.status("looks for a container runtime");
  }

  /** Workloads may come when they may in each runtime; that stays so until the agent starts again. */
  gate(): GateStatus {
    const statuses = this.#statuses();
    if (this.#wasReady) return { isReady: true, reason: "workloads were let in" };
    if (statuses.length === 0) return { isReady: false, reason: "no container runtime was found yet" };
    const waiting = statuses.filter(({ gate }) => !gate.isReady);
    const [first] = waiting.length > 0 ? waiting : statuses;
    return { isReady: waiting.length === 0, reason: first?.gate.reason ?? "" };
  }

  /**
   * That the loop of an agent hangs or fails, which a restart may cure; `undefined` when none does. A runtime that is down is none: nothing of the agent is
   * broken then, and a restart would close the gate.
   */
  problem(): string | undefined {
    for (const { runtime, conditions } of this.#statuses()) {
      const first = conditions.find(({ type }) => type === "LoopStuck" || type === "LoopFailed");
      if (first !== undefined) return `${runtime}: ${first.message}`;
    }
    return undefined;
  }

  /** Tells the service manager after each change, until there are no more. */
  async follow(changes: AsyncIterable<void>): Promise<void> {
    for await (const _ of changes) this.#tell();
  }

  stopping(): void {
    this.#manager.stopping();
  }

  #tell(): void {
    const { isReady } = this.gate();
    this.#manager.status(summary(this.#statuses()));
    if (isReady && !this.#wasReady) this.#manager.ready();
    this.#wasReady ||= isReady;
  }
}

function summary(statuses: readonly AgentStatus[]): string {
  const images = statuses.flatMap((status) => status.images);
  const count = (phase: string) => images.filter((image) => image.phase === phase).length;
  const parts = [`${count("Warm")} of ${images.length} images warm`];
  if (count("Fetching") > 0) parts.push(`${count("Fetching")} being fetched`);
  if (count("Failed") > 0) parts.push(`${count("Failed")} failed`);
  return parts.join(", ");
}
