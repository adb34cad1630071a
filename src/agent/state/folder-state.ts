import { join } from "node:path";
import { CodedError } from "../../oci/coded-error.ts";
import { causeText } from "../../oci/oci-error.ts";
import { lockFile } from "../../runtime/host/file-lock.ts";
import { errorCode } from "../../runtime/host/system-calls.ts";
import type { Condition } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import { emptyNodeRecord, type NodeRecord, type NodeState } from "./agent-state.ts";
import { parseStateDocument, writeStateDocument } from "./state-document.ts";
import { prepareFolder, readStateFile, setAside, statePath, writeStateFile } from "./state-file.ts";

export type FolderStateOptions = {
  readonly signal: AbortSignal;
  /** How long another agent may take to end; 10 s when left out. */
  readonly waitMs?: number;
  /** After a failure to write, it is tried again this often; 30 s when left out. */
  readonly retryMs?: number;
};

/** For a lock that was not to be had at the start: opening its file takes a moment, and must not pass for another agent. */
const relockMs = 1000;

type Loaded = { readonly record: NodeRecord; readonly condition: Condition | undefined };

/**
 * State of a node in a folder that one agent holds at a time: `state.json`, replaced as a whole. What is damaged or lost, and a folder that cannot be
 * written, gives a condition and an agent that works.
 */
export class FolderState implements NodeState {
  readonly #folder: string;
  #lock: AsyncDisposable | undefined;
  readonly #retryMs: number;
  #record: NodeRecord;
  /** Of the reading. */
  #found: Condition | undefined;
  /** Of the last try to write. */
  #failed: Condition | undefined;
  /** What the file holds, when it is known. */
  #written: string | undefined;
  #running: Promise<void> = Promise.resolve();
  /** The write that has not begun, which takes along every change until then. */
  #next: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(folder: string, lock: AsyncDisposable | undefined, loaded: Loaded, retryMs: number) {
    this.#folder = folder;
    this.#lock = lock;
    this.#record = loaded.record;
    this.#found = loaded.condition;
    this.#retryMs = retryMs;
  }

  /**
   * Reads the state, after the agent that has the folder has ended. Throws `AgentError` `busy` when it does not, and the reason of `signal`;
   * nothing else.
   */
  static async open(folder: string, options: FolderStateOptions): Promise<FolderState> {
    const { signal, waitMs = 10_000, retryMs = 30_000 } = options;
    const prepared = await attempt(() => prepareFolder(folder));
    if (prepared !== undefined) {
      const state = new FolderState(folder, undefined, { record: emptyNodeRecord, condition: undefined }, retryMs);
      state.#fail(prepared);
      return state;
    }
    const lock = await takeLock(folder, signal, waitMs);
    const state = new FolderState(folder, lock.held, await load(folder), retryMs);
    if (lock.failure !== undefined) state.#fail(lock.failure);
    return state;
  }

  get record(): NodeRecord {
    return this.#record;
  }

  get conditions(): readonly Condition[] {
    return [this.#found, this.#failed].filter((condition) => condition !== undefined);
  }

  async change(edit: (record: NodeRecord) => NodeRecord): Promise<void> {
    if (this.#isClosed) throw new AgentError("state-unusable", `${this.#folder}: the state has been closed`);
    this.#record = edit(this.#record);
    await this.#save();
  }

  /** Waits for what is being written, and lets another agent have the folder. May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    await this.#next?.catch(() => {});
    await this.#running.catch(() => {});
    if (this.#failed !== undefined) await this.#write().catch(() => {});
    clearTimeout(this.#retry);
    await this.#lock?.[Symbol.asyncDispose]();
  }

  #save(): Promise<void> {
    if (this.#next === undefined) {
      const before = this.#running.catch(() => {});
      this.#next = before.then(() => {
        this.#next = undefined;
        this.#running = this.#write();
        return this.#running;
      });
    }
    return this.#next;
  }

  async #write(): Promise<void> {
    const text = writeStateDocument(this.#record);
    if (text === this.#written) return;
    const failure = await attempt(async () => {
      if (this.#lock === undefined) await this.#lockNow();
      await writeStateFile(this.#folder, text);
    });
    if (failure !== undefined) {
      // Its name may hold either.
      this.#written = undefined;
      throw this.#fail(failure);
    }
    this.#written = text;
    this.#failed = undefined;
    if (this.#found?.type === "StateMissing") this.#found = undefined;
  }

  /** What could not be had when the state was opened. */
  async #lockNow(): Promise<void> {
    await prepareFolder(this.#folder);
    const { held, failure } = await takeLock(this.#folder, new AbortController().signal, relockMs);
    if (held === undefined) throw failure;
    this.#lock = held;
  }

  #fail(cause: unknown): AgentError {
    const error = stateError(this.#folder, cause);
    this.#failed = { type: "StateNotDurable", message: error.message };
    clearTimeout(this.#retry);
    if (!this.#isClosed) this.#retry = setTimeout(() => void this.#save().catch(() => {}), this.#retryMs).unref();
    return error;
  }
}

async function load(folder: string): Promise<Loaded> {
  const path = statePath(folder);
  try {
    const text = await readStateFile(folder);
    if (text !== undefined) return { record: parseStateDocument(text, path), condition: undefined };
    const message = `there is no ${path}: this is the first start, or it was lost; holds of disks are gone then, all else is found out again`;
    return { record: emptyNodeRecord, condition: { type: "StateMissing", message } };
  } catch (error) {
    const kept = await setAside(folder).catch(() => undefined);
    const where = kept === undefined ? "it will be replaced" : `it was kept as ${kept}`;
    const message = `${causeText(error)}; the agent began with an empty state, and ${where}; holds of disks are gone`;
    return { record: emptyNodeRecord, condition: { type: "StateDamaged", message } };
  }
}

async function takeLock(
  folder: string,
  signal: AbortSignal,
  waitMs: number,
): Promise<{ readonly held?: AsyncDisposable; readonly failure?: unknown }> {
  const path = join(folder, "lock");
  const timeout = AbortSignal.timeout(waitMs);
  try {
    return { held: await lockFile(path, AbortSignal.any([signal, timeout])) };
  } catch (failure) {
    signal.throwIfAborted();
    if (timeout.aborted)
      throw new AgentError("busy", `${path}: another agent has this state folder; stop it, or choose another --state`);
    // A file system that is full or read-only: there is nothing that two agents could write.
    return { failure };
  }
}

/** What goes wrong, if something does. */
async function attempt(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error ?? new Error("failed");
  }
}

function stateError(folder: string, cause: unknown): AgentError {
  if (cause instanceof AgentError) return cause;
  const code = errorCode(cause);
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new AgentError(
      "no-space",
      `${folder}: there is no room for the state (${code}); it is kept in memory until there is`,
      { cause },
    );
  }
  const text = cause instanceof CodedError ? cause.message : causeText(cause);
  return new AgentError("state-unusable", `${folder}: the state cannot be written (${text}); it is kept in memory`, {
    cause,
  });
}
