import type { DiskStatus, EjectEvent, EjectReport, InjectEvent, InjectReport, Runtime } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import type { Agent } from "../loop/agent.ts";
import type { AgentStatus } from "../status.ts";
import type { AgentControl, ControlOptions, EjectRequest, InjectRequest } from "./control.ts";

/** An agent and the runtime that it keeps warm. */
export type ControlledAgent = {
  readonly agent: Pick<Agent, "status" | "injectByHand" | "ejectByHand">;
  readonly runtime: Pick<Runtime, "status">;
};

/** Lets people ask the agents of a node. They are asked for each time: runtimes come late. */
export class AgentsControl implements AgentControl {
  readonly #agents: () => readonly ControlledAgent[];

  constructor(agents: () => readonly ControlledAgent[]) {
    this.#agents = agents;
  }

  status(): readonly AgentStatus[] {
    return this.#agents().map(({ agent }) => agent.status);
  }

  async disks(runtime: string, options: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]> {
    return this.#find(runtime).runtime.status(options);
  }

  async inject({ runtime, path, ...rest }: InjectRequest, options: ControlOptions<InjectEvent>): Promise<InjectReport> {
    return this.#find(runtime).agent.injectByHand(path, { ...rest, ...options });
  }

  async eject({ runtime, disks, ...rest }: EjectRequest, options: ControlOptions<EjectEvent>): Promise<EjectReport> {
    const { agent } = this.#find(runtime);
    const reports: EjectReport[] = [];
    for (const id of disks) reports.push(await agent.ejectByHand(id, { ...rest, ...options }));
    return { disks: reports.flatMap((report) => report.disks) };
  }

  #find(runtime: string): ControlledAgent {
    const found = this.#agents().find(({ agent }) => agent.status.runtime === runtime);
    if (found !== undefined) return found;
    const names = this.status().map((status) => status.runtime);
    const known = names.length === 0 ? "it has found none yet" : `it has ${names.join(", ")}`;
    throw new AgentError("not-found", `the agent keeps no runtime "${runtime}": ${known}`);
  }
}
