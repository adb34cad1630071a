import { existsSync } from "node:fs";
import type { AgentClient } from "../../agent/serve/control-client.ts";
import { discoverRuntimes, type RuntimeRequest } from "../../runtime/discovery.ts";
import { openRuntime } from "../../runtime/open-runtime.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { CliError } from "../cli-error.ts";

/** Runtimes that are open until they are disposed of. */
export type OpenRuntimes = AsyncDisposable & { readonly runtimes: readonly Runtime[] };

/** Which runtimes a command works in. */
export type RuntimeChoice = {
  readonly request: RuntimeRequest;
  /** Of an agent. */
  readonly socket: string;
  readonly signal: AbortSignal;
};

/** What came of the work in one runtime. */
export type Outcome<Result> =
  | { readonly runtime: string; readonly result: Result }
  | { readonly runtime: string; readonly error: Error };

/**
 * Finds and opens what the command line asks for. Where it names no runtime and an agent runs, the runtimes are the agent's, and it does the work.
 * Throws `RuntimeError`, `HostError`, `AgentError`.
 */
export async function openRuntimes({ request, socket, signal }: RuntimeChoice): Promise<OpenRuntimes> {
  const agent = request.address === undefined ? await agentAt(socket, signal) : undefined;
  if (agent !== undefined) {
    const { AgentRuntime } = await import("./agent-runtime.ts");
    const { runtimes } = await agent.status({ signal });
    return {
      runtimes: runtimes.map(({ runtime }) => new AgentRuntime(runtime, agent)),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const opened = await Promise.allSettled((await discoverRuntimes(request)).map(openRuntime));
  const runtimes = opened.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const close = () => Promise.all(runtimes.map((runtime) => runtime.close()));
  const failed = opened.find((each) => each.status === "rejected");
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  return {
    runtimes,
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

/** The agent that listens at a socket; `undefined` when none does. What speaks to it is only loaded where there is a socket. */
export async function agentAt(socket: string, signal: AbortSignal): Promise<AgentClient | undefined> {
  if (!existsSync(socket)) return undefined;
  const { findAgent } = await import("../../agent/serve/control-client.ts");
  return findAgent(socket, signal);
}

/**
 * Works in one runtime after the other; what fails in one does not keep the others from being worked in. Throws at once when the user wants
 * to stop, and, unless `throwsAlone` is false, when there is only one.
 */
export async function inEach<Result>(
  { runtimes }: OpenRuntimes,
  signal: AbortSignal,
  work: (runtime: Runtime) => Promise<Result>,
  { throwsAlone = true }: { readonly throwsAlone?: boolean } = {},
): Promise<Outcome<Result>[]> {
  const outcomes: Outcome<Result>[] = [];
  for (const runtime of runtimes) {
    try {
      outcomes.push({ runtime: runtime.name, result: await work(runtime) });
    } catch (error) {
      if ((throwsAlone && runtimes.length === 1) || signal.aborted || !(error instanceof Error)) throw error;
      outcomes.push({ runtime: runtime.name, error });
    }
  }
  return outcomes;
}

/** For the end of a command: throws `CliError` when one of the runtimes failed. */
export function throwFailures(outcomes: readonly Outcome<unknown>[]): void {
  const failures = outcomes.flatMap((each) => ("error" in each ? [`${each.runtime}: ${each.error.message}`] : []));
  if (failures.length > 0) throw new CliError("runtime-failed", failures.join("\n"));
}

/** One object of a command's JSON output. */
export function outcomeJson<Result extends object>(outcome: Outcome<Result>): object {
  const { runtime } = outcome;
  return "error" in outcome ? { runtime, error: outcome.error.message } : { runtime, ...outcome.result };
}
