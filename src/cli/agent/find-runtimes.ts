import type { AgentSpec } from "../../agent/config/agent-config.ts";
import {
  type Candidate,
  discoverRuntimes,
  type FoundRuntime,
  type RuntimeRequest,
  usualSockets,
} from "../../runtime/discovery.ts";
import { isRuntimeError, type RuntimeError } from "../../runtime/runtime-error.ts";

/**
 * The runtimes that an agent keeps warm: those that the command line means, and with `docker.overlay2` a Docker with overlay2 too, unless a
 * socket or a kind of runtime is named. Throws `RuntimeError`.
 */
export async function findRuntimes(
  request: RuntimeRequest,
  { overlay2 }: AgentSpec["docker"],
  candidates: readonly Candidate[] = usualSockets,
): Promise<readonly FoundRuntime[]> {
  if (!overlay2 || request.runtime !== "auto" || request.address !== undefined)
    return discoverRuntimes(request, candidates);
  const found = await foundOrNone(request, candidates);
  const docker = await foundOrNone({ runtime: "docker" }, candidates);
  if ("failure" in found) {
    if ("failure" in docker) throw found.failure;
    return docker.runtimes;
  }
  if ("failure" in docker) return found.runtimes;
  const known = new Set(found.runtimes.map((each) => JSON.stringify(each)));
  return [...found.runtimes, ...docker.runtimes.filter((each) => !known.has(JSON.stringify(each)))];
}

/** All that can be reached, Docker's overlay2 store too; may be none. Throws `RuntimeError`, but `not-found`. */
export async function findAllRuntimes(
  candidates: readonly Candidate[] = usualSockets,
): Promise<readonly FoundRuntime[]> {
  try {
    return await findRuntimes({ runtime: "auto" }, { overlay2: true }, candidates);
  } catch (error) {
    if (!isRuntimeError(error, "not-found")) throw error;
    return [];
  }
}

async function foundOrNone(
  request: RuntimeRequest,
  candidates: readonly Candidate[],
): Promise<{ readonly runtimes: readonly FoundRuntime[] } | { readonly failure: RuntimeError }> {
  try {
    return { runtimes: await discoverRuntimes(request, candidates) };
  } catch (error) {
    if (!isRuntimeError(error, "not-found")) throw error;
    return { failure: error };
  }
}
