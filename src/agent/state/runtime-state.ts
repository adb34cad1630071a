import type { Condition } from "../../runtime/runtime.ts";
import {
  type AgentRecord,
  type AgentState,
  emptyRuntimeRecord,
  type NodeRecord,
  type NodeState,
  type RuntimeRecord,
} from "./agent-state.ts";

/** What the agent of one runtime sees and changes of the state of its node. */
export class RuntimeState implements AgentState {
  readonly #node: NodeState;
  readonly #runtime: string;

  /** `runtime`: its key in `NodeRecord.runtimes`. */
  constructor(node: NodeState, runtime: string) {
    this.#node = node;
    this.#runtime = runtime;
  }

  get record(): AgentRecord {
    return this.#view(this.#node.record);
  }

  get conditions(): readonly Condition[] {
    return this.#node.conditions;
  }

  change(edit: (record: AgentRecord) => AgentRecord): Promise<void> {
    return this.#node.change((node) => {
      const { seenDisks, seededDisks, ...own } = edit(this.#view(node));
      return { ...node, seenDisks, seededDisks, runtimes: { ...node.runtimes, [this.#runtime]: own } };
    });
  }

  #view(node: NodeRecord): AgentRecord {
    const { seenDisks, seededDisks } = node;
    return { ...this.#own(node), seenDisks, seededDisks };
  }

  #own({ runtimes, unassigned = emptyRuntimeRecord }: NodeRecord): RuntimeRecord {
    return (Object.hasOwn(runtimes, this.#runtime) ? runtimes[this.#runtime] : undefined) ?? unassigned;
  }
}
