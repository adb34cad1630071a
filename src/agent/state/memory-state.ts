import type { Condition } from "../../runtime/runtime.ts";
import type { AgentError } from "../agent-error.ts";
import {
  type AgentRecord,
  emptyNodeRecord,
  emptyRecord,
  type NodeRecord,
  type NodeState,
  type State,
} from "./agent-state.ts";

/** A state without a folder, for tests. */
class KeptInMemory<Kept> implements State<Kept> {
  #record: Kept;
  #durable: Kept;
  #failure: AgentError | undefined;

  constructor(record: Kept) {
    this.#record = record;
    this.#durable = record;
  }

  get record(): Kept {
    return this.#record;
  }

  /** What the next agent would find. */
  get durable(): Kept {
    return this.#durable;
  }

  get conditions(): readonly Condition[] {
    return this.#failure === undefined ? [] : [{ type: "StateNotDurable", message: this.#failure.message }];
  }

  /** Every change from now on fails so; `undefined` ends that. */
  fail(failure: AgentError | undefined): void {
    this.#failure = failure;
    if (failure === undefined) this.#durable = this.#record;
  }

  async change(edit: (record: Kept) => Kept): Promise<void> {
    this.#record = edit(this.#record);
    await Promise.resolve();
    if (this.#failure !== undefined) throw this.#failure;
    this.#durable = this.#record;
  }
}

/** That of one agent. */
export class MemoryState extends KeptInMemory<AgentRecord> {
  constructor(record: AgentRecord = emptyRecord) {
    super(record);
  }
}

/** That of a node whose runtimes have an agent each. */
export class MemoryNodeState extends KeptInMemory<NodeRecord> implements NodeState {
  constructor(record: NodeRecord = emptyNodeRecord) {
    super(record);
  }
}
