import type { Condition } from "../../runtime/runtime.ts";
import type { AgentError } from "../agent-error.ts";
import { type AgentRecord, type AgentState, emptyRecord } from "./agent-state.ts";

/** The state of an agent without a folder, for tests. */
export class MemoryState implements AgentState {
  #record: AgentRecord;
  #durable: AgentRecord;
  #failure: AgentError | undefined;

  constructor(record: AgentRecord = emptyRecord) {
    this.#record = record;
    this.#durable = record;
  }

  get record(): AgentRecord {
    return this.#record;
  }

  /** What the next agent would find. */
  get durable(): AgentRecord {
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

  async change(edit: (record: AgentRecord) => AgentRecord): Promise<void> {
    this.#record = edit(this.#record);
    await Promise.resolve();
    if (this.#failure !== undefined) throw this.#failure;
    this.#durable = this.#record;
  }

  async close(): Promise<void> {}
}
