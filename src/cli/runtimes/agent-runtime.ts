import type { AgentClient } from "../../agent/serve/control-client.ts";
import type {
  DiskStatus,
  EjectOptions,
  EjectReport,
  InjectOptions,
  InjectReport,
  OpenDisk,
  Runtime,
} from "../../runtime/runtime.ts";

/** A runtime that an agent keeps warm: what is to be done there, the agent does, so that it knows of it. Throws `AgentError`. */
export class AgentRuntime implements Runtime {
  readonly name: string;
  readonly #agent: AgentClient;

  constructor(name: string, agent: AgentClient) {
    this.name = name;
    this.#agent = agent;
  }

  inject({ source }: OpenDisk, options: InjectOptions): Promise<InjectReport> {
    const { images, handlers, force, chains, ...rest } = options;
    const asked = { runtime: this.name, path: source.path, handlers, force, chains };
    return this.#agent.inject({ ...asked, ...(images && { images }) }, rest);
  }

  async eject({ disks, wait, materialize, ...rest }: EjectOptions): Promise<EjectReport> {
    const ids = disks ?? (await this.status(rest)).map(({ id }) => id);
    return this.#agent.eject({ runtime: this.name, disks: ids, wait, materialize }, rest);
  }

  status({ signal }: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]> {
    return this.#agent.disks(this.name, { signal });
  }

  async close(): Promise<void> {}
}
